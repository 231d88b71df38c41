package florence2

// #include <florence2.h>
import "C"

import "encoding/json"

// Point is a position in pixels of the image: x, y.
type Point [2]float64

// RegionScore is the model's confidence, from 0 to 1. Overall is Label times Locations. Label is the probability of the
// label, and Locations the probability that the least certain coordinate is within the location tolerance.
type RegionScore struct {
	Overall   float64 `json:"overall"`
	Label     float64 `json:"label"`
	Locations float64 `json:"locations"`
}

// Region is a box (two corners), quad or polygon with its label.
type Region struct {
	Kind     string      `json:"kind"`
	Label    string      `json:"label"`
	Points   []Point     `json:"points"`
	Score    RegionScore `json:"score"`
	Instance int         `json:"instance"`
}

// Result is the answer to a request.
type Result struct {
	Task string `json:"task"`
	// Text is the answer without special tokens.
	Text string `json:"text"`
	// RawText is the answer as it was generated.
	RawText       string    `json:"raw_text"`
	Regions       []Region  `json:"regions"`
	Score         *float64  `json:"score"`
	SequenceScore float64   `json:"sequence_score"`
	FinishReason  string    `json:"finish_reason"`
	TokenIDs      []uint32  `json:"token_ids"`
	TokenLogProbs []float64 `json:"token_log_probs"`
	// Width and Height are the size of the image in pixels.
	Width     int                `json:"width"`
	Height    int                `json:"height"`
	TimingsMS map[string]float64 `json:"timings_ms"`
	// HF is the answer in the shape of transformers' post_process_generation.
	HF json.RawMessage `json:"result"`
	// Alternatives are the further sequences of num_return_sequences, best first.
	Alternatives []*Result `json:"alternatives"`
}

// ScoredToken is a token of a target with its log-probability.
type ScoredToken struct {
	ID      uint32  `json:"token_id"`
	Text    string  `json:"text"`
	LogProb float64 `json:"log_prob"`
}

// Score is the mean cross-entropy of a target, and the log-probability of each of its tokens.
type Score struct {
	Loss   float64       `json:"loss"`
	Tokens []ScoredToken `json:"tokens"`
}

func newResult(native *C.florence2_result) (*Result, error) {
	result := &Result{}
	return result, json.Unmarshal([]byte(C.GoString(C.florence2_result_json(native))), result)
}
