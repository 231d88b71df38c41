package florence2_test

import (
	"encoding/json"
	"errors"
	"log/slog"
	"reflect"
	"runtime"
	"strings"
	"testing"

	florence2 "example.org/libflorence2/bindings/go"
)

func TestResultsHaveTheValuesOfTheirJSON(t *testing.T) {
	model, img := demo(t)
	options := &florence2.RunOptions{Generation: florence2.GenerationOptions{NumBeams: florence2.Ptr(3), NumReturnSequences: florence2.Ptr(2)}}
	result := run(t, model, florence2.Request{Image: img, Task: florence2.TaskOD}, options)
	// Alternatives remain valid without the result and the model.
	alternative := result.Alternatives[0]
	check(t, result)
	result = nil
	model.Close()
	runtime.GC()
	runtime.GC()
	check(t, alternative)
}

// regionJSON is a region in the JSON of results.
type regionJSON struct {
	Kind, Label string
	Points      [][2]float64
	BoundingBox [4]float64 `json:"bounding_box"`
	Instance    int
	Score       *florence2.RegionScore
}

// check compares a result with its JSON.
func check(t *testing.T, result *florence2.Result) {
	t.Helper()
	text, err := json.Marshal(result)
	if err != nil {
		t.Fatal(err)
	}
	var object struct {
		Task, Text, Image string
		Raw               string                 `json:"raw_text"`
		Finish            florence2.FinishReason `json:"finish_reason"`
		IDs               []uint32               `json:"token_ids"`
		LogProbs          []float32              `json:"token_log_probs"`
		Score             *float32
		SequenceScore     *float32                   `json:"sequence_score"`
		Regions           []regionJSON               `json:"regions"`
		Result            map[string]json.RawMessage `json:"result"`
		Width, Height     int
	}
	if err := json.Unmarshal(text, &object); err != nil {
		t.Fatal(err)
	}
	if object.Task != result.Task || object.Text != result.Text || object.Raw != result.RawText || object.Finish != result.FinishReason ||
		object.Width != result.Width || object.Height != result.Height || len(object.Regions) != len(result.Regions) ||
		*object.Score != *result.Score || *object.SequenceScore != result.SequenceScore ||
		!same(result, &florence2.Result{TokenIDs: object.IDs, TokenLogProbs: object.LogProbs}) || object.Image != scene {
		t.Errorf("found %+v, expected %+v", object, result)
	}
	for index, region := range result.Regions {
		var found regionJSON
		text, err := json.Marshal(region)
		if err != nil || json.Unmarshal(text, &found) != nil || found.Kind != "box" || !reflect.DeepEqual(found, object.Regions[index]) {
			t.Errorf("found %s, expected %+v", text, object.Regions[index])
		}
	}
	if hf, err := result.HF(); err != nil || !strings.HasPrefix(string(hf), `{"<OD>":{`) {
		t.Errorf("found %s, %v", hf, err)
	}
	if timings := result.Timings; timings.Vision <= 0 || timings.Generate <= 0 {
		t.Errorf("found %+v, expected durations", timings)
	}
}

func TestAbsentScoresAreNil(t *testing.T) {
	model, img := demo(t)
	labelled := run(t, model, florence2.Request{Image: img, Task: florence2.TaskOD}, nil)
	for _, region := range labelled.Regions {
		if score := region.Score; score == nil || score.Label == nil || *score.Label <= 0 || *score.Label > 1 || score.Overall <= 0 || score.Overall > 1 {
			t.Errorf("found %+v, expected scores", region)
		}
	}
	for _, region := range run(t, model, florence2.Request{Image: img, Task: florence2.TaskRegionProposal}, nil).Regions {
		if region.Score == nil || region.Score.Label != nil || region.Label != "" {
			t.Errorf("found %+v, expected no score of a label", region)
		}
	}
	if labelled.Score == nil || *labelled.Score <= 0 || *labelled.Score > 1 {
		t.Errorf("found %v, expected a score", labelled.Score)
	}
	end, err := model.TokenID("</s>")
	if err != nil {
		t.Fatal(err)
	}
	empty := &florence2.RunOptions{Generation: florence2.GenerationOptions{
		NumBeams: florence2.Ptr(1), ForcedBOSTokenID: []uint32{end},
	}}
	if result := run(t, model, florence2.Request{Image: img, Task: florence2.TaskCaption}, empty); result.Score != nil || result.Text != "" {
		t.Errorf("found %q with the score %v, expected no text and no score", result.RawText, result.Score)
	}
	if _, err := json.Marshal(&florence2.Result{}); !errors.Is(err, florence2.ErrInvalidArgument) {
		t.Errorf("found %v, expected an error about the Result", err)
	}
}

func TestBoundingBoxes(t *testing.T) {
	polygon := florence2.Region{Kind: florence2.KindPolygon, Points: []florence2.Point{{X: 5, Y: 2}, {X: 1, Y: 9}, {X: 3, Y: 4}}}
	if box := polygon.BoundingBox(); box != (florence2.Box{X1: 1, Y1: 2, X2: 5, Y2: 9}) {
		t.Error(box)
	}
	if box := (florence2.Region{}).BoundingBox(); box != (florence2.Box{}) {
		t.Error(box)
	}
}

func TestCoordinatesAndLocationTolerance(t *testing.T) {
	model, img := demo(t)
	request := florence2.Request{Image: img, Task: florence2.TaskOD}
	centers, integers := run(t, model, request, nil), run(t, model, request, &florence2.RunOptions{Coordinates: florence2.HFIntegers})
	for index, region := range centers.Regions {
		for corner, point := range region.Points {
			if found := integers.Regions[index].Points[corner]; found.X != float64(int(point.X)) || found.Y != float64(int(point.Y)) {
				t.Errorf("found %v, expected the integers of %v", found, point)
			}
		}
	}
	previous := float32(0)
	for _, tolerance := range []int{0, 5, 50, 1000} {
		result := run(t, model, request, &florence2.RunOptions{LocationTolerance: &tolerance})
		found := result.Regions[0].Score.Locations
		if found < previous || !same(result, centers) {
			t.Errorf("tolerance %d: found %v, expected at least %v and the same answer", tolerance, found, previous)
		}
		if tolerance == 50 && found != centers.Regions[0].Score.Locations {
			t.Errorf("found %v, expected the default %v", found, centers.Regions[0].Score.Locations)
		}
		if tolerance == 5 && found == previous {
			t.Errorf("tolerance %d: found %v, expected more than without a tolerance", tolerance, found)
		}
		previous = found
	}
	for part, options := range map[string]*florence2.RunOptions{
		"`LocationTolerance`": {LocationTolerance: florence2.Ptr(-1)},
		"coordinates":         {Coordinates: 9},
	} {
		if _, err := model.Run(background, request, options); !errors.Is(err, florence2.ErrInvalidArgument) || !strings.Contains(err.Error(), part) {
			t.Errorf("found %v, expected an error with %q", err, part)
		}
	}
}

func TestRegionsInBothUnits(t *testing.T) {
	model, img := demo(t)
	ask := func(box florence2.Box, unit florence2.RegionUnit) *florence2.Result {
		return run(t, model, florence2.Request{Image: img, Task: florence2.TaskRegionToCategory, Region: &box, RegionUnit: unit}, nil)
	}
	pixels := ask(florence2.Box{X1: 48, Y1: 24, X2: 96, Y2: 144}, florence2.UnitPixels)
	if fractions := ask(florence2.Box{X1: 0.25, Y1: 0.125, X2: 0.5, Y2: 0.75}, florence2.UnitNormalized); !same(pixels, fractions) {
		t.Errorf("found %s, expected %s", fractions.RawText, pixels.RawText)
	}
}

func TestProgressIsReported(t *testing.T) {
	model, img := demo(t)
	request := florence2.Request{Image: img, Task: florence2.TaskCaption}
	var reports []florence2.Progress
	tokens := 0
	options := &florence2.RunOptions{
		Generation: florence2.GenerationOptions{NumBeams: florence2.Ptr(3)},
		OnToken:    func(florence2.Token) error { tokens++; return nil },
		OnProgress: func(progress florence2.Progress) error {
			reports = append(reports, progress)
			return nil
		},
	}
	run(t, model, request, options)
	if len(reports) < 5 || tokens < 5 || reports[len(reports)-1].NewTokens < 5 || reports[0].MaxNewTokens < len(reports) {
		t.Errorf("found %d reports %+v and %d tokens", len(reports), reports, tokens)
	}
	mine := errors.New("mine")
	calls := 0
	options.OnProgress = func(florence2.Progress) error { calls++; return mine }
	if _, err := model.Run(background, request, options); !errors.Is(err, mine) || calls != 1 {
		t.Errorf("found %v after %d calls, expected the callback's error after one", err, calls)
	}
}

func TestTasksHaveConstantsAndMetadata(t *testing.T) {
	type metadata struct {
		input  florence2.TaskInput
		answer florence2.PostProcessingType
	}
	none, text, region := florence2.InputNone, florence2.InputText, florence2.InputRegion
	constants := map[florence2.Task]metadata{
		florence2.TaskCaption:                         {none, florence2.PureText},
		florence2.TaskDetailedCaption:                 {none, florence2.PureText},
		florence2.TaskMoreDetailedCaption:             {none, florence2.PureText},
		florence2.TaskOD:                              {none, florence2.DescriptionWithBboxes},
		florence2.TaskDenseRegionCaption:              {none, florence2.DescriptionWithBboxes},
		florence2.TaskRegionProposal:                  {none, florence2.Bboxes},
		florence2.TaskOCR:                             {none, florence2.PureText},
		florence2.TaskOCRWithRegion:                   {none, florence2.OCR},
		florence2.TaskCaptionToPhraseGrounding:        {text, florence2.PhraseGrounding},
		florence2.TaskReferringExpressionSegmentation: {text, florence2.Polygons},
		florence2.TaskRegionToSegmentation:            {region, florence2.Polygons},
		florence2.TaskOpenVocabularyDetection:         {text, florence2.DescriptionWithBboxesOrPolygons},
		florence2.TaskRegionToCategory:                {region, florence2.PureText},
		florence2.TaskRegionToDescription:             {region, florence2.PureText},
		florence2.TaskRegionToOCR:                     {region, florence2.PureText},
		"od":                                          {none, florence2.DescriptionWithBboxes},
		"<NOTHING>":                                   {florence2.InputUnknown, ""},
		"":                                            {florence2.InputUnknown, ""},
		"<OD>\x00":                                    {florence2.InputUnknown, ""},
	}
	for task, expected := range constants {
		if found := (metadata{task.Input(), task.PostProcessingType()}); found != expected {
			t.Errorf("%s: found %v, expected %v", task, found, expected)
		}
	}
	tasks := florence2.Tasks()
	for _, task := range tasks {
		if _, ok := constants[task]; !ok {
			t.Errorf("%s: found no constant", task)
		}
	}
	if len(tasks) != 15 {
		t.Errorf("found %d tasks, expected 15", len(tasks))
	}
}

func TestMessagesReachTheLogger(t *testing.T) {
	var text strings.Builder
	logger := slog.New(slog.NewTextHandler(&text, &slog.HandlerOptions{Level: slog.LevelInfo}))
	for range 3 {
		if err := florence2.SetLogger(logger); err != nil {
			t.Fatal(err)
		}
	}
	model, _ := demo(t)
	model.Close()
	if err := florence2.SetLogger(nil); err != nil {
		t.Fatal(err)
	}
	logged := text.String()
	if !strings.Contains(logged, "level=INFO") || !strings.Contains(logged, "loaded onto") || !strings.Contains(logged, "target=") || strings.Contains(logged, "DEBUG") {
		t.Errorf("found %q, expected a message about the model", logged)
	}
	demo(t)
	if text.String() != logged {
		t.Error("a logger that was removed receives messages")
	}
}
