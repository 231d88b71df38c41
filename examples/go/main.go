// Finds objects in an image:   detect IMAGE [MODEL_FOLDER]
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"

	florence2 "example.org/libflorence2/bindings/go"
)

func detect(ctx context.Context, model *florence2.Model, path string) error {
	img, err := florence2.OpenImage(path)
	if err != nil {
		return err
	}
	defer img.Close()
	result, err := model.Run(ctx, florence2.Request{Image: img, Task: florence2.TaskOD}, nil)
	if err != nil {
		return err
	}
	for _, region := range result.Regions {
		fmt.Printf("%s %.0f\n", region.Label, region.Points)
	}
	return nil
}

func load(ctx context.Context, arguments []string) (*florence2.Model, error) {
	if len(arguments) > 2 {
		return florence2.Load(ctx, arguments[2], nil)
	}
	return florence2.Demo(ctx, nil)
}

func main() {
	log.SetFlags(0)
	if len(os.Args) < 2 {
		log.Fatal("usage: detect IMAGE [MODEL_FOLDER]")
	}
	// An interrupt cancels the loading and the run.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	model, err := load(ctx, os.Args)
	if err != nil {
		log.Fatal("detect: ", err)
	}
	defer model.Close()
	if err := detect(ctx, model, os.Args[1]); err != nil {
		log.Fatal("detect: ", err)
	}
}
