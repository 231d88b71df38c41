package florence2

// #include <florence2.h>
import "C"

import (
	"encoding/json"
	"fmt"
	"math"
	"runtime"
	"time"
	"unsafe"
)

// FinishReason is the reason why an answer ended.
type FinishReason string

// The reasons why an answer ended.
const (
	// FinishEndOfText is the reason if the model chose an end token, or completed a stop string.
	FinishEndOfText FinishReason = "end_of_text"
	// FinishLength is the reason if the answer was cut off: it reached its maximum length, also if an end token is forced
	// there, or the time limit of the search passed.
	FinishLength FinishReason = "length"
)

// Timings are the durations of the stages of a run. Each result of a batch has the durations of the whole batch.
type Timings struct {
	// Preprocess is the duration of resizing and normalising the image.
	Preprocess time.Duration
	// Vision is the duration of the vision tower and its projection.
	Vision time.Duration
	// Generate is the duration of the encoder and the decoder.
	Generate time.Duration
}

// Result is the answer to a request.
type Result struct {
	// Task is the token of the task, such as "<OD>". For a prompt without a task, it is the text from a "<" at its start to
	// the first ">", or the whole prompt.
	Task string
	// Text is the answer without <s>, </s> and surrounding white space.
	Text string
	// RawText is the answer with all special tokens.
	RawText string
	// Regions are in the order of the answer.
	Regions []Region
	// Score is the confidence of the answer, 0 to 1: the geometric mean of the probabilities of its tokens without <s> and
	// </s>, where a location counts within RunOptions.LocationTolerance. It is nil if the answer has no such tokens.
	Score *float32
	// SequenceScore is Hugging Face's sequences_scores: the sum of the log-probabilities of the generated tokens, divided
	// by their number to the power of the length penalty.
	SequenceScore float32
	FinishReason  FinishReason
	// TokenIDs are the tokens of the answer, the decoder's start token first.
	TokenIDs []uint32
	// TokenLogProbs are the natural logarithms of the tokens' probabilities. They are 0 for the start token and for forced
	// tokens.
	TokenLogProbs []float32
	// Width and Height are the size of the image in pixels.
	Width, Height int
	Timings       Timings
	// Alternatives are the further answers of GenerationOptions.NumReturnSequences, best first.
	Alternatives []*Result

	native *C.florence2_result
	owner  *resultOwner
}

// resultOwner keeps a result of the library, from which alternatives borrow. The garbage collector frees it.
type resultOwner struct{ handle *handle }

func newResult(native *C.florence2_result) *Result {
	owner := &resultOwner{newHandle("result", unsafe.Pointer(native), func(p unsafe.Pointer) {
		C.florence2_result_free((*C.florence2_result)(p))
	})}
	runtime.AddCleanup(owner, (*handle).close, owner.handle)
	return readResult(native, owner)
}

func readResult(native *C.florence2_result, owner *resultOwner) *Result {
	tokens := C.florence2_result_token_count(native)
	result := &Result{
		Task:          C.GoString(C.florence2_result_task(native)),
		Text:          C.GoString(C.florence2_result_text(native)),
		RawText:       C.GoString(C.florence2_result_raw_text(native)),
		Regions:       make([]Region, C.florence2_result_region_count(native)),
		Score:         optional(C.florence2_result_score(native)),
		SequenceScore: float32(C.florence2_result_sequence_score(native)),
		FinishReason:  finishReason(C.florence2_result_finish_reason(native)),
		TokenIDs:      slice(C.florence2_result_token_ids(native), tokens, func(id C.uint32_t) uint32 { return uint32(id) }),
		TokenLogProbs: slice(C.florence2_result_token_log_probs(native), tokens, func(p C.float) float32 { return float32(p) }),
		Width:         int(C.florence2_result_image_width_px(native)),
		Height:        int(C.florence2_result_image_height_px(native)),
		Timings:       readTimings(C.florence2_result_timings(native)),
		Alternatives:  make([]*Result, C.florence2_result_alternative_count(native)),
		native:        native,
		owner:         owner,
	}
	for index := range result.Regions {
		result.Regions[index] = readRegion(C.florence2_result_region(native, C.size_t(index)))
	}
	for index := range result.Alternatives {
		result.Alternatives[index] = readResult(C.florence2_result_alternative(native, C.size_t(index)), owner)
	}
	return result
}

func readTimings(native *C.florence2_timings) Timings {
	duration := func(ms C.double) time.Duration { return time.Duration(float64(ms) * float64(time.Millisecond)) }
	return Timings{duration(native.preprocess_ms), duration(native.vision_ms), duration(native.generate_ms)}
}

func finishReason(native C.florence2_finish_reason) FinishReason {
	switch native {
	case C.FLORENCE2_FINISH_REASON_END_OF_TEXT:
		return FinishEndOfText
	case C.FLORENCE2_FINISH_REASON_LENGTH:
		return FinishLength
	}
	return FinishReason(fmt.Sprintf("florence2_finish_reason %d", int32(native)))
}

func readRegion(native *C.florence2_region) Region {
	region := Region{
		Kind:  regionKind(native.kind),
		Label: C.GoString(native.label),
		Points: slice(native.points, native.points_len, func(point C.florence2_point) Point {
			return Point{float64(point.x_px), float64(point.y_px)}
		}),
		Instance: int(native.instance),
	}
	if overall := optional(native.score); overall != nil {
		region.Score = &RegionScore{*overall, optional(native.label_score), float32(native.location_score)}
	}
	return region
}

func regionKind(native C.florence2_region_kind) RegionKind {
	switch native {
	case C.FLORENCE2_REGION_KIND_BOX:
		return KindBox
	case C.FLORENCE2_REGION_KIND_QUAD:
		return KindQuad
	case C.FLORENCE2_REGION_KIND_POLYGON:
		return KindPolygon
	}
	return RegionKind(fmt.Sprintf("florence2_region_kind %d", int32(native)))
}

// optional converts a number of the library, which is NaN if it is absent.
func optional(value C.float) *float32 {
	if math.IsNaN(float64(value)) {
		return nil
	}
	return Ptr(float32(value))
}

// slice copies an array of the library.
func slice[From, To any](first *From, count C.size_t, convert func(From) To) []To {
	made := make([]To, count)
	for index, value := range unsafe.Slice(first, count) {
		made[index] = convert(value)
	}
	return made
}

// MarshalJSON returns the library's JSON of the result, which is the same in every language. Its structure is documented
// at florence2_result_json in florence2.h. It fails for a Result that no run returned.
func (r Result) MarshalJSON() ([]byte, error) {
	if r.native == nil {
		return nil, &Error{Reason: ErrInvalidArgument, Message: "result: found a Result that no run returned, expected one of a run"}
	}
	defer runtime.KeepAlive(r.owner)
	return []byte(C.GoString(C.florence2_result_json(r.native))), nil
}

// HF returns the answer as transformers' post_process_generation returns it: a JSON object with the task as its key. It
// fails for a Result that no run returned.
func (r Result) HF() (json.RawMessage, error) {
	text, err := r.MarshalJSON()
	if err != nil {
		return nil, err
	}
	var object struct {
		Result json.RawMessage `json:"result"`
	}
	err = json.Unmarshal(text, &object)
	return object.Result, err
}

// ScoredToken is a token of a target.
type ScoredToken struct {
	ID uint32
	// Text is the token, decoded by itself.
	Text string
	// LogProb is the natural logarithm of the token's probability, given the tokens before it.
	LogProb float32
}

// Score is the likelihood of a given answer.
type Score struct {
	// Loss is the mean of the tokens' negative log-probabilities: the loss of Hugging Face's forward with labels.
	Loss float32
	// Tokens are the tokens of the target, including <s> and </s>.
	Tokens []ScoredToken
}

func readScore(native *C.florence2_score) *Score {
	score := &Score{
		Loss:   float32(C.florence2_score_loss(native)),
		Tokens: make([]ScoredToken, C.florence2_score_token_count(native)),
	}
	for index := range score.Tokens {
		token := C.florence2_score_token(native, C.size_t(index))
		score.Tokens[index] = ScoredToken{uint32(token.token_id), C.GoString(token.text), float32(token.log_prob)}
	}
	return score
}
