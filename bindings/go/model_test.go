package florence2_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	florence2 "example.org/libflorence2/bindings/go"
)

// demoFiles reads the files of the demo model that a model needs.
func demoFiles(t *testing.T) florence2.Files {
	t.Helper()
	files := florence2.Files{}
	for _, name := range []string{"config.json", "generation_config.json", "preprocessor_config.json", "tokenizer.json", "model.safetensors"} {
		data, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = data
	}
	return files
}

// loaded runs <OD> on the scene with a model, which it closes.
func loaded(t *testing.T, model *florence2.Model, err error) *florence2.Result {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer model.Close()
	img, err := florence2.OpenImage(scene)
	return objects(t, model, img, err)
}

func fromFolder(t *testing.T, options *florence2.LoadOptions) *florence2.Result {
	t.Helper()
	model, err := florence2.Load(background, folder, options)
	return loaded(t, model, err)
}

func TestLoadingFromMemory(t *testing.T) {
	expected, files := fromFolder(t, nil), demoFiles(t)
	model, err := florence2.LoadMemory(background, files, nil)
	if found := loaded(t, model, err); !same(found, expected) {
		t.Errorf("found %s, expected %s", found.RawText, expected.RawText)
	}
	for _, missing := range []string{"config.json", "preprocessor_config.json", "tokenizer.json", "model.safetensors"} {
		part := maps.Clone(files)
		delete(part, missing)
		if _, err := florence2.LoadMemory(background, part, nil); !errors.Is(err, florence2.ErrIO) || !strings.Contains(err.Error(), missing) {
			t.Errorf("found %v, expected an error about %s", err, missing)
		}
	}
	for name, status := range map[string]error{
		"confg.json": florence2.ErrInvalidArgument, "a\x00.json": florence2.ErrInvalidArgument, "": florence2.ErrInvalidArgument,
		"model.safetensors": florence2.ErrInvalidModel, "config.json": florence2.ErrInvalidModel,
	} {
		bad := maps.Clone(files)
		bad[name] = nil
		if _, err := florence2.LoadMemory(background, bad, nil); !errors.Is(err, status) {
			t.Errorf("%q: found %v, expected %v", name, err, status)
		}
	}
	if _, err := florence2.LoadMemory(background, nil, nil); !errors.Is(err, florence2.ErrIO) {
		t.Errorf("found %v, expected an error about config.json", err)
	}
}

func TestWeightsAndProcessorOfOtherFolders(t *testing.T) {
	expected, config := fromFolder(t, nil), t.TempDir()
	for _, name := range []string{"config.json", "generation_config.json"} {
		if err := os.WriteFile(filepath.Join(config, name), demoFiles(t)[name], 0o600); err != nil {
			t.Fatal(err)
		}
	}
	options := florence2.LoadOptions{Weights: folder + "/model.safetensors", Processor: folder, SpinLimit: -1}
	model, err := florence2.Load(background, config, &options)
	if found := loaded(t, model, err); !same(found, expected) {
		t.Errorf("found %s, expected %s", found.RawText, expected.RawText)
	}
	for part, options := range map[string]florence2.LoadOptions{
		"model.safetensors":        {Processor: folder},
		"preprocessor_config.json": {Weights: options.Weights},
		"/nowhere.bin":             {Processor: folder, Weights: "/nowhere.bin"},
		"options.spin_limit":       {Processor: folder, Weights: options.Weights, SpinLimit: -2},
		"`Threads`":                {Processor: folder, Weights: options.Weights, Threads: -1},
	} {
		if _, err := florence2.Load(background, config, &options); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("found %v, expected an error about %s", err, part)
		}
	}
	if _, err := florence2.LoadMemory(background, demoFiles(t), &options); !errors.Is(err, florence2.ErrInvalidArgument) {
		t.Errorf("found %v, expected an error about the processor of a model in memory", err)
	}
}

// onesAdapter is an adapter of the demo model whose matrices are ones.
func onesAdapter() florence2.Files {
	const dModel, ffnDim = 128, 512
	const layer = "base_model.model.model.language_model.decoder.layers.0.fc1.lora_"
	header := fmt.Sprintf(`{"%sA.weight":{"dtype":"F32","shape":[1,%d],"data_offsets":[0,%d]},`+
		`"%sB.weight":{"dtype":"F32","shape":[%d,1],"data_offsets":[%d,%d]}}`,
		layer, dModel, 4*dModel, layer, ffnDim, 4*dModel, 4*(dModel+ffnDim))
	weights := append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...)
	for range dModel + ffnDim {
		weights = binary.LittleEndian.AppendUint32(weights, math.Float32bits(1))
	}
	config := `{"peft_type": "LORA", "r": 1, "lora_alpha": 1, "target_modules": ["fc1"]}`
	return florence2.Files{"adapter_config.json": []byte(config), "adapter_model.safetensors": weights}
}

func TestAdaptersAndTheirScales(t *testing.T) {
	files, directory := onesAdapter(), t.TempDir()
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(directory, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	with := func(adapters ...florence2.Adapter) *florence2.Result {
		t.Helper()
		return fromFolder(t, &florence2.LoadOptions{Adapters: adapters})
	}
	base, one := with(), with(florence2.Adapter{Files: files})
	if same(base, one) {
		t.Error("the adapter does not change the result")
	}
	if !same(one, with(florence2.Adapter{Folder: directory, Scale: 1})) {
		t.Error("the folder and the files have different results")
	}
	if same(one, with(florence2.Adapter{Files: files, Scale: 0.25})) {
		t.Error("the scale does not change the result")
	}
	// The second adapter subtracts the update of the first; rounding may remain.
	if both := with(florence2.Adapter{Files: files}, florence2.Adapter{Folder: directory, Scale: -1}); both.RawText != base.RawText {
		t.Errorf("found %s, expected %s", both.RawText, base.RawText)
	}
	for part, adapter := range map[string]florence2.Adapter{
		"/nowhere":            {Folder: "/nowhere"},
		"options.adapters[1]": {},
		"adapters[1]":         {Folder: directory, Files: files},
		"safetensors":         {Files: florence2.Files{"adapter_config.json": files["adapter_config.json"]}},
	} {
		options := &florence2.LoadOptions{Adapters: []florence2.Adapter{{Files: files}, adapter}}
		if _, err := florence2.Load(background, folder, options); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("found %v, expected an error with %q", err, part)
		}
	}
}

func TestLoadingReportsProgress(t *testing.T) {
	var reports []florence2.LoadProgress
	report := func(progress florence2.LoadProgress) error {
		reports = append(reports, progress)
		return nil
	}
	model, err := florence2.Demo(background, &florence2.LoadOptions{OnProgress: report})
	if err != nil {
		t.Fatal(err)
	}
	model.Close()
	first, last := reports[0], reports[len(reports)-1]
	if len(reports) != last.TotalTensors+1 || first.Tensors != 0 || first.Parameters != 0 ||
		last.Tensors != last.TotalTensors || last.Parameters != last.TotalParameters || last.TotalParameters < 1_000_000 {
		t.Errorf("found %d reports from %+v to %+v", len(reports), first, last)
	}
	for index, progress := range reports {
		if progress.Tensors != index || progress.TotalTensors != last.TotalTensors {
			t.Errorf("report %d: found %+v", index, progress)
		}
	}

	// The callback's error ends the loading, at the last tensor too.
	mine := errors.New("mine")
	for _, stop := range []int{1, 3, len(reports)} {
		calls := 0
		options := &florence2.LoadOptions{OnProgress: func(florence2.LoadProgress) error {
			if calls++; calls == stop {
				return mine
			}
			return nil
		}}
		if _, err := florence2.Demo(background, options); !errors.Is(err, mine) || calls != stop {
			t.Errorf("found %v after %d calls, expected the callback's error after %d", err, calls, stop)
		}
	}
	defer func() {
		if recover() != "mine" {
			t.Error("the panic of the callback was not repeated")
		}
	}()
	florence2.Demo(background, &florence2.LoadOptions{OnProgress: func(florence2.LoadProgress) error { panic("mine") }})
}

func TestContextsEndTheLoading(t *testing.T) {
	calls := 0
	ctx, cancel := context.WithCancel(background)
	options := &florence2.LoadOptions{OnProgress: func(florence2.LoadProgress) error {
		if calls++; calls == 2 {
			cancel()
			// The library's token is fired by another goroutine.
			time.Sleep(100 * time.Millisecond)
		}
		return nil
	}}
	if _, err := florence2.Load(ctx, folder, options); !errors.Is(err, context.Canceled) || !errors.Is(err, florence2.ErrCancelled) || calls > 10 {
		t.Errorf("found %v after %d calls, expected the context's error", err, calls)
	}
	calls = 0
	if _, err := florence2.Load(ctx, folder, options); !errors.Is(err, context.Canceled) || calls != 0 {
		t.Errorf("found %v after %d calls, expected the context's error", err, calls)
	}
	late, cancel := context.WithTimeout(background, 20*time.Millisecond)
	defer cancel()
	slow := func(florence2.LoadProgress) error { time.Sleep(time.Millisecond); return nil }
	_, err := florence2.Demo(late, &florence2.LoadOptions{OnProgress: slow})
	if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, florence2.ErrDeadlineExceeded) {
		t.Errorf("found %v, expected the deadline's error", err)
	}
}

func TestPropertiesOfAModel(t *testing.T) {
	model, err := florence2.Load(background, folder, &florence2.LoadOptions{Device: "cpu", Dtype: "f32", Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	info, err := model.Info()
	if err != nil || info.Device != "cpu" || info.Dtype != "f32" || info.Threads != 2 || info.VocabSize < 1000 || info.MaxNewTokens < 1 {
		t.Errorf("found %+v, %v", info, err)
	}
	if beams := info.Generation.NumBeams; beams == nil || *beams < 1 {
		t.Errorf("found %v beams in %+v, expected a number", beams, info.Generation)
	}
	end, err := model.TokenID("</s>")
	if err != nil || !slices.Contains(info.Generation.EOSTokenID, end) || model.Device() != "cpu" {
		t.Errorf("found %d, %v, expected one of %v", end, err, info.Generation.EOSTokenID)
	}
	if _, err := model.TokenID("no token"); !errors.Is(err, florence2.ErrInvalidArgument) {
		t.Errorf("found %v, expected an error about the token", err)
	}
	model.Close()
	for _, err := range []error{refusal(model.Info()), refusal(model.TokenID("</s>"))} {
		if !errors.Is(err, florence2.ErrClosed) || !strings.Contains(err.Error(), "model") {
			t.Errorf("found %v, expected the error of a closed model", err)
		}
	}
	if model.Device() != "" || model.Warnings() != nil {
		t.Error("a closed model has properties")
	}
}
