package florence2

import (
	"encoding/json"
	"reflect"
	"testing"
)

func TestGenerationOptionsAreKeysOfTheLibrary(t *testing.T) {
	options := GenerationOptions{
		NumBeams:                      Ptr(0),
		DoSample:                      Ptr(false),
		LengthPenalty:                 Ptr(float32(0.5)),
		EarlyStopping:                 Ptr(EarlyStoppingNever),
		EOSTokenID:                    []uint32{},
		StopStrings:                   []string{"a, b"},
		BadWordsIDs:                   [][]uint32{{5, 6}, {7}},
		SequenceBias:                  []SequenceBias{{TokenIDs: []uint32{5, 6}, Bias: -2.5}},
		ExponentialDecayLengthPenalty: &ExponentialDecay{Start: 5, Factor: 1.5},
	}
	text, err := options.json()
	expected := `{"eos_token_id":[],"exponential_decay_length_penalty":[5,1.5],"stop_strings":["a, b"],"num_beams":0,` +
		`"length_penalty":0.5,"early_stopping":"never","do_sample":false,"sequence_bias":[[[5,6],-2.5]],"bad_words_ids":[[5,6],[7]]}`
	if text != expected || err != nil {
		t.Errorf("found %s, %v, expected %s", text, err, expected)
	}
	var read GenerationOptions
	if err := json.Unmarshal([]byte(text), &read); err != nil || !reflect.DeepEqual(read, options) {
		t.Errorf("found %+v, %v, expected %+v", read, err, options)
	}
	if text, err := (GenerationOptions{}).json(); text != "" || err != nil {
		t.Errorf("found %s, %v, expected no options", text, err)
	}
	if text, _ := (GenerationOptions{EarlyStopping: Ptr(EarlyStoppingTrue)}).json(); text != `{"early_stopping":true}` {
		t.Error(text)
	}
}
