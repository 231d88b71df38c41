// Runs the cases of cases.json with the Go binding: driver CASES MODEL_FOLDER. Prints one JSON object per line.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	florence2 "example.org/libflorence2/bindings/go"
)

type object = map[string]any

type question struct {
	Image, Task, Prompt, Input string
	Region                     *[4]float64
}

type testCase struct {
	Name, Call, Target, Device, Directory string
	Requests                              []question
	Generation                            json.RawMessage
	EncodeFirst                           bool `json:"encode_first"`
	StopAfter                             int  `json:"stop_after"`
	AfterMS                               int  `json:"after_ms"`
}

var (
	folder     = os.Args[2]
	background = context.Background()
	errEnough  = errors.New("enough")
)

func answerOf(result *florence2.Result) object {
	alternatives := []string{}
	for _, alternative := range result.Alternatives {
		alternatives = append(alternatives, alternative.Text)
	}
	return object{
		"text": result.Text, "token_ids": result.TokenIDs, "sequence_score": result.SequenceScore,
		"regions": result.Regions, "alternatives": alternatives,
	}
}

func requestOf(model *florence2.Model, asked question, encodeFirst bool) (request florence2.Request, err error) {
	request = florence2.Request{Task: florence2.Task(asked.Task), Prompt: asked.Prompt, Input: asked.Input}
	if box := asked.Region; box != nil {
		request.Region = &florence2.Box{X1: box[0], Y1: box[1], X2: box[2], Y2: box[3]}
	}
	img, err := florence2.OpenImage(filepath.Join(folder, "scenes", asked.Image))
	if err != nil || !encodeFirst {
		request.Image = img
		return request, err
	}
	defer img.Close()
	request.Features, err = model.EncodeImage(background, img)
	return request, err
}

func say(model *florence2.Model, asked testCase) (object, error) {
	if asked.Call == "load" {
		directory := asked.Directory
		if directory == "" {
			directory = folder
		}
		_, err := florence2.Load(background, directory, &florence2.LoadOptions{Device: asked.Device})
		return object{}, err
	}
	var requests []florence2.Request
	for _, each := range asked.Requests {
		request, err := requestOf(model, each, asked.EncodeFirst)
		if err != nil {
			return nil, err
		}
		requests = append(requests, request)
	}
	options := &florence2.RunOptions{Coordinates: florence2.HFIntegers}
	if len(asked.Generation) > 0 {
		decoder := json.NewDecoder(bytes.NewReader(asked.Generation))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&options.Generation); err != nil {
			return nil, err
		}
	}
	switch asked.Call {
	case "score":
		return score(model, requests[0], asked.Target)
	case "stream", "stop":
		return listen(model, requests[0], options, asked.StopAfter)
	case "cancel", "deadline":
		return endEarly(model, requests[0], options, asked)
	}
	return answers(model, requests, options)
}

// answers runs one request by itself and several in a batch.
func answers(model *florence2.Model, requests []florence2.Request, options *florence2.RunOptions) (object, error) {
	if len(requests) == 1 {
		result, err := model.Run(background, requests[0], options)
		if err != nil {
			return nil, err
		}
		return object{"answers": []object{answerOf(result)}}, nil
	}
	outcomes, err := model.RunBatch(background, requests, options)
	if err != nil {
		return nil, err
	}
	found := []object{}
	for _, outcome := range outcomes {
		if outcome.Err != nil {
			return nil, outcome.Err
		}
		found = append(found, answerOf(outcome.Result))
	}
	return object{"answers": found}, nil
}

func score(model *florence2.Model, request florence2.Request, target string) (object, error) {
	score, err := model.Score(background, request, target)
	if err != nil {
		return nil, err
	}
	logProbs := []float32{}
	for _, token := range score.Tokens {
		logProbs = append(logProbs, token.LogProb)
	}
	return object{"loss": score.Loss, "log_probs": logProbs}, nil
}

func listen(model *florence2.Model, request florence2.Request, options *florence2.RunOptions, stopAfter int) (object, error) {
	var heard strings.Builder
	tokens := 0
	options.OnToken = func(token florence2.Token) error {
		heard.WriteString(token.Text)
		if tokens++; tokens == stopAfter {
			return errEnough
		}
		return nil
	}
	if _, err := model.Run(background, request, options); err != nil && !errors.Is(err, errEnough) {
		return nil, err
	}
	return object{"streamed": heard.String(), "stopped": tokens}, nil
}

func endEarly(model *florence2.Model, request florence2.Request, options *florence2.RunOptions, asked testCase) (object, error) {
	after := time.Duration(asked.AfterMS) * time.Millisecond
	ctx, cancel := context.WithTimeout(background, after)
	if asked.Call == "cancel" {
		ctx, cancel = context.WithCancel(background)
		time.AfterFunc(after, cancel)
	}
	defer cancel()
	_, err := model.Run(ctx, request, options)
	return object{
		"cancelled": errors.Is(err, context.Canceled) && errors.Is(err, florence2.ErrCancelled),
		"expired":   errors.Is(err, context.DeadlineExceeded) && errors.Is(err, florence2.ErrDeadlineExceeded),
	}, nil
}

func fatal(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "driver:", err)
		os.Exit(1)
	}
}

func main() {
	text, err := os.ReadFile(os.Args[1])
	fatal(err)
	var cases []testCase
	fatal(json.Unmarshal(text, &cases))
	model, err := florence2.Load(background, folder, nil)
	fatal(err)
	defer model.Close()
	for _, asked := range cases {
		said, err := say(model, asked)
		if err != nil {
			said = object{"error": err.Error()}
		}
		said["name"] = asked.Name
		line, err := json.Marshal(said)
		fatal(err)
		fmt.Println(string(line))
	}
}
