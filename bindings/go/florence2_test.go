package florence2_test

import (
	"context"
	"errors"
	"image"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	florence2 "example.org/libflorence2/bindings/go"
)

const (
	folder = "../../assets/demo-model"
	scene  = folder + "/scenes/scene-1.png"
)

var background = context.Background()

func demo(t testing.TB) (*florence2.Model, *florence2.Image) {
	t.Helper()
	model, img, err := demoAndScene()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { model.Close(); img.Close() })
	return model, img
}

func run(t testing.TB, model *florence2.Model, request florence2.Request, options *florence2.RunOptions) *florence2.Result {
	t.Helper()
	result, err := model.Run(background, request, options)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func demoAndScene() (*florence2.Model, *florence2.Image, error) {
	model, err := florence2.Demo(background, nil)
	if err != nil {
		return nil, nil, err
	}
	img, err := florence2.OpenImage(scene)
	return model, img, err
}

func TestBatchesFeaturesAndOptions(t *testing.T) {
	model, img := demo(t)
	features, err := model.EncodeImage(background, img)
	if err != nil {
		t.Fatal(err)
	}
	defer features.Close()
	region := florence2.Box{X1: 30, Y1: 30, X2: 104, Y2: 104}
	requests := []florence2.Request{
		{Features: features, Task: "<CAPTION>"},
		{Image: img, Task: "<REGION_TO_CATEGORY>", Region: &region},
		{Image: img, Task: "<CAPTION_TO_PHRASE_GROUNDING>", Input: "ein weißer Kreis 🟠"},
	}
	outcomes, err := model.RunBatch(background, requests, nil)
	if err != nil {
		t.Fatal(err)
	}
	for index, request := range requests {
		if alone := run(t, model, request, nil); alone.RawText != outcomes[index].Result.RawText {
			t.Errorf("found %s, expected %s", outcomes[index].Result.RawText, alone.RawText)
		}
	}
	options := &florence2.RunOptions{Generation: florence2.GenerationOptions{NumBeams: florence2.Ptr(3), NumReturnSequences: florence2.Ptr(3)}, Coordinates: florence2.HFIntegers}
	if result := run(t, model, requests[0], options); len(result.Alternatives) != 2 {
		t.Error(result)
	}
	score, err := model.Score(background, requests[0], "a white circle")
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, token := range score.Tokens {
		sum += float64(token.LogProb)
	}
	if len(score.Tokens) < 5 || math.Abs(float64(score.Loss)+sum/float64(len(score.Tokens))) > 1e-4 {
		t.Error(score)
	}
}

func TestTokensAreReported(t *testing.T) {
	model, img := demo(t)
	request := florence2.Request{Image: img, Task: "<CAPTION>"}
	greedy := florence2.GenerationOptions{NumBeams: florence2.Ptr(1)}
	var reported strings.Builder
	result := run(t, model, request, &florence2.RunOptions{Generation: greedy, OnToken: func(token florence2.Token) error {
		reported.WriteString(token.Text)
		return nil
	}})
	if !strings.Contains(reported.String(), result.Text) || result.Text == "" {
		t.Errorf("found %q, expected %q in it", reported.String(), result.Text)
	}
	mine := errors.New("mine")
	_, err := model.Run(background, request, &florence2.RunOptions{Generation: greedy, OnToken: func(florence2.Token) error { return mine }})
	if !errors.Is(err, mine) {
		t.Error(err)
	}
	defer func() {
		if recover() != "mine" {
			t.Error("the panic of the callback was not repeated")
		}
	}()
	model.Run(background, request, &florence2.RunOptions{Generation: greedy, OnToken: func(florence2.Token) error { panic("mine") }})
}

func TestABadRequestLeavesTheOtherResults(t *testing.T) {
	model, img := demo(t)
	closed, err := florence2.OpenImage(scene)
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	requests := []florence2.Request{
		{Image: img, Task: "<OD>"},
		{Image: img, Task: "<NOTHING>"},
		{Image: closed, Task: "<OD>"},
		{Image: img, Task: "<OD>\x00"},
		{Task: "<OD>"},
		{Image: img, Task: "<CAPTION>"},
	}
	tokens := make([]int, len(requests))
	options := &florence2.RunOptions{Generation: florence2.GenerationOptions{NumBeams: florence2.Ptr(1)}, OnToken: func(token florence2.Token) error {
		tokens[token.Request]++
		return nil
	}}
	outcomes, err := model.RunBatch(background, requests, options)
	if err != nil || len(outcomes) != len(requests) {
		t.Fatalf("found %d outcomes and error %v, expected %d", len(outcomes), err, len(requests))
	}
	for index, part := range []string{"", "<NOTHING>", "closed", "NUL", "request.image", ""} {
		outcome := outcomes[index]
		if part != "" {
			if outcome.Err == nil || !strings.Contains(outcome.Err.Error(), part) || outcome.Result != nil || tokens[index] != 0 {
				t.Errorf("request %d: found %+v, expected an error with %q", index, outcome, part)
			}
			continue
		}
		if outcome.Err != nil {
			t.Errorf("request %d: %v", index, outcome.Err)
			continue
		}
		alone := run(t, model, requests[index], &florence2.RunOptions{Generation: options.Generation})
		if !slices.Equal(outcome.Result.TokenIDs, alone.TokenIDs) || tokens[index] == 0 {
			t.Errorf("request %d: found %s, expected %s", index, outcome.Result.RawText, alone.RawText)
		}
	}
	if !errors.Is(outcomes[1].Err, florence2.ErrInvalidArgument) || !errors.Is(outcomes[2].Err, florence2.ErrClosed) {
		t.Errorf("found %v and %v", outcomes[1].Err, outcomes[2].Err)
	}

	if outcomes, err := model.RunBatch(background, nil, nil); len(outcomes) != 0 || err != nil {
		t.Error(outcomes, err)
	}
	mine := errors.New("mine")
	ended := &florence2.RunOptions{Generation: options.Generation, OnToken: func(florence2.Token) error { return mine }}
	if outcomes, err := model.RunBatch(background, requests, ended); !errors.Is(err, mine) || outcomes != nil {
		t.Errorf("found %v, expected the callback's error", err)
	}
	invalid := &florence2.RunOptions{Generation: florence2.GenerationOptions{NumBeams: florence2.Ptr(-1)}}
	if _, err := model.RunBatch(background, requests, invalid); !errors.Is(err, florence2.ErrInvalidArgument) {
		t.Errorf("found %v, expected an error about num_beams", err)
	}
}

func TestContexts(t *testing.T) {
	model, img := demo(t)
	long := &florence2.RunOptions{Generation: florence2.GenerationOptions{
		NumBeams: florence2.Ptr(8), MinNewTokens: florence2.Ptr(200), MaxNewTokens: florence2.Ptr(200),
	}}
	request := florence2.Request{Image: img, Task: florence2.TaskCaption}
	mine := errors.New("mine")
	ctx, cancel := context.WithCancelCause(background)
	time.AfterFunc(30*time.Millisecond, func() { cancel(mine) })
	_, during := model.Run(ctx, request, long)
	calls := map[string]error{
		"Run":         refusal(model.Run(ctx, request, nil)),
		"RunBatch":    refusal(model.RunBatch(ctx, []florence2.Request{request}, nil)),
		"EncodeImage": refusal(model.EncodeImage(ctx, img)),
		"Score":       refusal(model.Score(ctx, request, "a circle")),
		"Load":        refusal(florence2.Load(ctx, folder, nil)),
		"during Run":  during,
	}
	for name, err := range calls {
		for _, expected := range []error{context.Canceled, florence2.ErrCancelled, mine} {
			if !errors.Is(err, expected) {
				t.Errorf("%s: found %v, expected %v", name, err, expected)
			}
		}
		if errors.Is(err, florence2.ErrDeadlineExceeded) || err.Error() != "florence2: mine" {
			t.Errorf("%s: found %v, expected the cause", name, err)
		}
	}
	late, stop := context.WithTimeout(background, 20*time.Millisecond)
	defer stop()
	for _, err := range []error{refusal(model.Run(late, request, long)), refusal(model.Score(late, request, "a circle"))} {
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, florence2.ErrDeadlineExceeded) || errors.Is(err, florence2.ErrCancelled) {
			t.Errorf("found %v, expected the deadline's error", err)
		}
	}
}

func TestRefusals(t *testing.T) {
	model, img := demo(t)
	for status, refused := range map[error]func() error{
		florence2.ErrIO: func() error { _, err := florence2.OpenImage("/nowhere.png"); return err },
		florence2.ErrInvalidImage: func() error {
			_, err := florence2.ReadImage(strings.NewReader("no image"))
			return err
		},
		florence2.ErrUnsupportedDevice: func() error {
			_, err := florence2.Demo(background, &florence2.LoadOptions{Device: "abacus"})
			return err
		},
		florence2.ErrInvalidArgument: func() error {
			_, err := model.Run(background, florence2.Request{Image: img, Task: "<NOTHING>"}, nil)
			return err
		},
	} {
		err := refused()
		var failed *florence2.Error
		if !errors.Is(err, status) || !errors.As(err, &failed) || failed.Reason != status || err.Error() != "florence2: "+failed.Message {
			t.Errorf("found %v, expected %v", err, status)
		}
	}
	for _, refused := range []error{
		refusal(florence2.OpenImage("a\x00b")),
		refusal(florence2.Load(background, folder+"\x00", nil)),
		refusal(florence2.Demo(background, &florence2.LoadOptions{Device: "cpu\x00"})),
		refusal(model.Run(background, florence2.Request{Image: img, Task: "<OD>\x00"}, nil)),
		refusal(model.Score(background, florence2.Request{Image: img, Task: "<OD>"}, "\x00")),
	} {
		if !errors.Is(refused, florence2.ErrInvalidArgument) || !strings.Contains(refused.Error(), "NUL") {
			t.Errorf("found %v, expected an error about NUL", refused)
		}
	}
	if _, err := florence2.Demo(background, &florence2.LoadOptions{Dtype: "f99"}); !errors.Is(err, florence2.ErrInvalidArgument) {
		t.Errorf("found %v, expected an error about f99", err)
	}
	closed, err := florence2.OpenImage(scene)
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	closed.Close()
	if _, err := model.Run(background, florence2.Request{Image: closed, Task: "<OD>"}, nil); !errors.Is(err, florence2.ErrClosed) {
		t.Error(err)
	}
}

// within fails the test when the work does not end in time.
func within(t *testing.T, limit time.Duration, work func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		work()
	}()
	select {
	case <-done:
	case <-time.After(limit):
		t.Fatal("deadlock")
	}
}

func TestImagesAreClosedWhileABatchUsesThemTwice(t *testing.T) {
	model, _ := demo(t)
	for index := range 200 {
		img, err := florence2.NewImage(image.NewNRGBA(image.Rect(0, 0, 2, 2)))
		if err != nil {
			t.Fatal(err)
		}
		requests := slices.Repeat([]florence2.Request{{Image: img, Task: "<OD>"}}, 5000)
		// The options are refused after the image was borrowed for each request.
		refused := &florence2.RunOptions{LocationTolerance: florence2.Ptr(-1)}
		within(t, 20*time.Second, func() {
			var group sync.WaitGroup
			group.Add(2)
			go func() {
				defer group.Done()
				model.RunBatch(background, requests, refused)
			}()
			go func() {
				defer group.Done()
				// The image is closed at a different moment of the batch's preparation each time.
				time.Sleep(time.Duration(index) * 5 * time.Microsecond)
				img.Close()
			}()
			group.Wait()
		})
	}
	_, img := demo(t)
	twice := []florence2.Request{{Image: img, Task: "<OD>"}, {Image: img, Task: "<CAPTION>"}}
	outcomes, err := model.RunBatch(background, twice, nil)
	if err != nil || len(outcomes) != 2 || outcomes[0].Err != nil || outcomes[1].Err != nil {
		t.Error(outcomes, err)
	}
}

func TestHandlesAreClosedAndUsedInCallbacks(t *testing.T) {
	model, img := demo(t)
	request := florence2.Request{Image: img, Task: "<CAPTION>"}
	greedy := florence2.GenerationOptions{NumBeams: florence2.Ptr(1)}
	expected := run(t, model, request, &florence2.RunOptions{Generation: greedy})
	within(t, time.Minute, func() {
		var nested error
		result, err := model.Run(background, request, &florence2.RunOptions{Generation: greedy, OnToken: func(florence2.Token) error {
			go model.Close()
			img.Close()
			model.Close()
			_, nested = model.Run(background, request, nil)
			return nil
		}})
		if err != nil || !slices.Equal(result.TokenIDs, expected.TokenIDs) {
			t.Error(result, err)
		}
		if !errors.Is(nested, florence2.ErrClosed) {
			t.Errorf("found %v, expected the error of a closed model", nested)
		}
	})
	if width, height := img.Size(); width != 0 || height != 0 {
		t.Error("the closed image has a size")
	}
}

func TestTheFirstErrorOfACallbackIsTheRuns(t *testing.T) {
	model, img := demo(t)
	request := florence2.Request{Image: img, Task: "<CAPTION>"}
	first, calls := errors.New("first"), 0
	options := &florence2.RunOptions{Generation: florence2.GenerationOptions{NumBeams: florence2.Ptr(1)}, OnToken: func(florence2.Token) error {
		if calls++; calls > 1 {
			return nil
		}
		return first
	}}
	if _, err := model.RunBatch(background, []florence2.Request{request, request, request}, options); !errors.Is(err, first) {
		t.Error(err)
	}
}

func refusal[T any](_ T, err error) error { return err }

func TestManyGoroutines(t *testing.T) {
	_, img := demo(t)
	model, err := florence2.Load(background, folder, &florence2.LoadOptions{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	request := florence2.Request{Image: img, Task: "<OD>"}
	expected := run(t, model, request, nil)
	var group sync.WaitGroup
	for range 16 {
		group.Add(1)
		go func() {
			defer group.Done()
			result, err := model.Run(background, request, nil)
			// A run that began before the model was closed succeeds; a later one fails.
			if errors.Is(err, florence2.ErrClosed) {
				return
			}
			if err != nil || !slices.Equal(result.TokenIDs, expected.TokenIDs) {
				t.Error(result, err)
			}
		}()
	}
	time.Sleep(5 * time.Millisecond)
	model.Close()
	group.Wait()
}

func TestSystemAndWarnings(t *testing.T) {
	model, _ := demo(t)
	if info := florence2.SystemInfo(); !strings.Contains(info, `"version":"`+florence2.Version()+`"`) {
		t.Errorf("found %s, expected the version in it", info)
	}
	if devices := florence2.Devices(); !slices.Contains(devices, "cpu") || !slices.Contains(devices, model.Device()) {
		t.Errorf("found %v, expected cpu and %s", devices, model.Device())
	}
	if warnings := model.Warnings(); len(warnings) != 0 {
		t.Errorf("found %v, expected no warnings", warnings)
	}
	florence2.Trim()
	if err := florence2.SetSIMDLevel("abacus"); !errors.Is(err, florence2.ErrInvalidArgument) {
		t.Errorf("found %v, expected an error about the level", err)
	}
}
