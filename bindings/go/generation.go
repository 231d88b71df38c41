package florence2

import (
	"encoding/json"
	"strings"
)

// Ptr returns a pointer to a copy of a value, for options that are nil if they are not set:
//
//	options := florence2.RunOptions{LocationTolerance: florence2.Ptr(10)}
func Ptr[T any](value T) *T { return &value }

// EarlyStopping is the condition that ends a beam search.
type EarlyStopping string

// The conditions that end a beam search.
const (
	// EarlyStoppingTrue ends the search as soon as NumBeams answers are complete.
	EarlyStoppingTrue EarlyStopping = "true"
	// EarlyStoppingFalse ends the search when a better answer is unlikely, by a heuristic.
	EarlyStoppingFalse EarlyStopping = "false"
	// EarlyStoppingNever ends the search when a better answer is impossible.
	EarlyStoppingNever EarlyStopping = "never"
)

// MarshalJSON returns true, false or a string. The library refuses unknown strings.
func (s EarlyStopping) MarshalJSON() ([]byte, error) {
	if s == EarlyStoppingTrue || s == EarlyStoppingFalse {
		return []byte(s), nil
	}
	return json.Marshal(string(s))
}

// UnmarshalJSON is the inverse of MarshalJSON.
func (s *EarlyStopping) UnmarshalJSON(data []byte) error {
	*s = EarlyStopping(strings.Trim(string(data), `"`))
	return nil
}

// ExponentialDecay is a number of generated tokens after which the scores of end tokens increase, and the base of the
// exponential increase.
type ExponentialDecay struct {
	// Start is the number of generated tokens.
	Start int
	// Factor is the base.
	Factor float64
}

// MarshalJSON returns the list [start, factor].
func (d ExponentialDecay) MarshalJSON() ([]byte, error) {
	return json.Marshal([2]any{d.Start, d.Factor})
}

// UnmarshalJSON is the inverse of MarshalJSON.
func (d *ExponentialDecay) UnmarshalJSON(data []byte) error {
	return json.Unmarshal(data, &[2]any{&d.Start, &d.Factor})
}

// SequenceBias is a sequence of tokens with the bias that is added to the score of its last token.
type SequenceBias struct {
	TokenIDs []uint32
	// Bias is positive to make the sequence more likely. It must not be NaN.
	Bias float32
}

// MarshalJSON returns the list [ids, bias].
func (b SequenceBias) MarshalJSON() ([]byte, error) {
	return json.Marshal([2]any{append([]uint32{}, b.TokenIDs...), b.Bias})
}

// UnmarshalJSON is the inverse of MarshalJSON.
func (b *SequenceBias) UnmarshalJSON(data []byte) error {
	return json.Unmarshal(data, &[2]any{&b.TokenIDs, &b.Bias})
}

// json returns the options that are set as the text of a JSON object, and an empty text if none is.
func (o GenerationOptions) json() (string, error) {
	text, err := json.Marshal(o)
	if err != nil || string(text) == "{}" {
		return "", err
	}
	return string(text), nil
}
