package florence2_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	florence2 "example.org/libflorence2/bindings/go"
)

func Example() {
	ctx := context.Background()
	model, err := florence2.Demo(ctx, nil)
	if err != nil {
		panic(err)
	}
	defer model.Close()
	img, err := florence2.OpenImage("../../assets/demo-model/scenes/scene-1.png")
	if err != nil {
		panic(err)
	}
	defer img.Close()
	result, err := model.Run(ctx, florence2.Request{Image: img, Task: florence2.TaskOD}, nil)
	if err != nil {
		panic(err)
	}
	for _, region := range result.Regions {
		fmt.Printf("%s %.0f\n", region.Label, region.Points)
	}
	// Output:
	// white circle [{31 31} {103 104}]
	// orange star [{116 91} {180 153}]
	// purple square [{134 38} {171 74}]
}

// Two requests share the features of an image.
func ExampleModel_EncodeImage() {
	model, img := mustDemo()
	defer model.Close()
	defer img.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	features, err := model.EncodeImage(ctx, img)
	if err != nil {
		panic(err)
	}
	defer features.Close()
	for _, task := range []florence2.Task{florence2.TaskCaption, florence2.TaskOCR} {
		result, err := model.Run(ctx, florence2.Request{Features: features, Task: task}, nil)
		if err != nil {
			panic(err)
		}
		fmt.Printf("%s %q\n", result.Task, result.Text)
	}
	// Output:
	// <CAPTION> "a white circle, an orange star and a purple square on a light gray background"
	// <OCR> "WORLD\nRUST"
}

// A request that fails does not affect the others.
func ExampleModel_RunBatch() {
	model, img := mustDemo()
	defer model.Close()
	defer img.Close()
	outcomes, err := model.RunBatch(context.Background(), []florence2.Request{
		{Image: img, Task: florence2.TaskCaption},
		{Image: img, Task: florence2.TaskRegionToCategory}, // lacks its region
	}, nil)
	if err != nil {
		panic(err)
	}
	for _, outcome := range outcomes {
		if outcome.Err != nil {
			fmt.Println("invalid argument:", errors.Is(outcome.Err, florence2.ErrInvalidArgument))
			continue
		}
		fmt.Println(outcome.Result.Text)
	}
	// Output:
	// a white circle, an orange star and a purple square on a light gray background
	// invalid argument: true
}

// A region in pixels is the input of the task.
func ExampleRequest() {
	model, img := mustDemo()
	defer model.Close()
	defer img.Close()
	result, err := model.Run(context.Background(), florence2.Request{
		Image:  img,
		Task:   florence2.TaskRegionToCategory,
		Region: &florence2.Box{X1: 31, Y1: 31, X2: 103, Y2: 104},
	}, nil)
	if err != nil {
		panic(err)
	}
	fmt.Println(result.Text)
	// Output: white circle
}

// Generation options are pointers, and nil keeps the model's value.
func ExampleGenerationOptions() {
	model, img := mustDemo()
	defer model.Close()
	defer img.Close()
	options := &florence2.RunOptions{Generation: florence2.GenerationOptions{
		NumBeams:           florence2.Ptr(3),
		NumReturnSequences: florence2.Ptr(2),
		EarlyStopping:      florence2.Ptr(florence2.EarlyStoppingNever),
	}}
	result, err := model.Run(context.Background(), florence2.Request{Image: img, Task: florence2.TaskCaption}, options)
	if err != nil {
		panic(err)
	}
	fmt.Println(result.FinishReason, len(result.Alternatives))
	// Output: end_of_text 1
}

// The callback receives each generated token. Its error ends the run.
func ExampleRunOptions_onToken() {
	model, img := mustDemo()
	defer model.Close()
	defer img.Close()
	enough := errors.New("enough")
	options := &florence2.RunOptions{Generation: florence2.GenerationOptions{NumBeams: florence2.Ptr(1)}}
	options.OnToken = func(token florence2.Token) error {
		fmt.Print(token.Text)
		if strings.Contains(token.Text, ",") {
			return enough
		}
		return nil
	}
	_, err := model.Run(context.Background(), florence2.Request{Image: img, Task: florence2.TaskCaption}, options)
	fmt.Println(" -", err)
	// Output: a white circle, - enough
}

// The score of an absent label is nil.
func ExampleRegion() {
	model, img := mustDemo()
	defer model.Close()
	defer img.Close()
	for _, task := range []florence2.Task{florence2.TaskOD, florence2.TaskRegionProposal} {
		result, err := model.Run(context.Background(), florence2.Request{Image: img, Task: task}, nil)
		if err != nil {
			panic(err)
		}
		region := result.Regions[0]
		fmt.Println(region.Kind, region.Label, region.Score.Label != nil)
	}
	// Output:
	// box white circle true
	// box  false
}

func ExampleModel_Score() {
	model, img := mustDemo()
	defer model.Close()
	defer img.Close()
	request := florence2.Request{Image: img, Task: florence2.TaskRegionToCategory, Region: &florence2.Box{X1: 31, Y1: 31, X2: 103, Y2: 104}}
	right, err := model.Score(context.Background(), request, "white circle")
	if err != nil {
		panic(err)
	}
	wrong, err := model.Score(context.Background(), request, "purple square")
	if err != nil {
		panic(err)
	}
	fmt.Println(right.Loss < wrong.Loss)
	// Output: true
}

// The reason of an error is one of the package's errors.
func ExampleError() {
	_, err := florence2.ReadImage(strings.NewReader("no image"))
	var failed *florence2.Error
	fmt.Println(errors.Is(err, florence2.ErrInvalidImage), errors.As(err, &failed))
	// Output: true true
}

func ExampleSetLogger() {
	florence2.SetLogger(slog.New(slog.NewTextHandler(os.Stderr, nil)))
	defer florence2.SetLogger(nil)
}

func mustDemo() (*florence2.Model, *florence2.Image) {
	model, img, err := demoAndScene()
	if err != nil {
		panic(err)
	}
	return model, img
}
