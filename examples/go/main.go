// Finds objects in an image:   detect IMAGE [MODEL_FOLDER]
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"florence2"
)

func detect(ctx context.Context, model *florence2.Model, path string) error {
	img, err := florence2.OpenImage(path)
	if err != nil {
		return err
	}
	defer img.Close()
	result, err := model.Run(ctx, florence2.Request{Image: img, Task: "<OD>"}, nil)
	if err != nil {
		return err
	}
	for _, region := range result.Regions {
		fmt.Printf("%s %.0f\n", region.Label, region.Points)
	}
	return nil
}

func load(arguments []string) (*florence2.Model, error) {
	if len(arguments) > 2 {
		return florence2.Load(arguments[2], nil)
	}
	return florence2.Demo(nil)
}

func main() {
	log.SetFlags(0)
	if len(os.Args) < 2 {
		log.Fatal("usage: detect IMAGE [MODEL_FOLDER]")
	}
	model, err := load(os.Args)
	if err != nil {
		log.Fatal("detect: ", err)
	}
	defer model.Close()
	if err := detect(context.Background(), model, os.Args[1]); err != nil {
		log.Fatal("detect: ", err)
	}
}
