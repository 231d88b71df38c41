package florence2_test

import (
	"bytes"
	"errors"
	"image"
	"image/color"
	_ "image/png"
	"os"
	"slices"
	"strings"
	"testing"

	florence2 "example.org/libflorence2/bindings/go"
)

// objects runs <OD> on an image, which it closes.
func objects(t *testing.T, model *florence2.Model, img *florence2.Image, err error) *florence2.Result {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer img.Close()
	return run(t, model, florence2.Request{Image: img, Task: "<OD>"}, nil)
}

// same reports whether two results have the same tokens with the same probabilities.
func same(a, b *florence2.Result) bool {
	return slices.Equal(a.TokenIDs, b.TokenIDs) && slices.Equal(a.TokenLogProbs, b.TokenLogProbs)
}

func decodedScene(t *testing.T) (encoded []byte, decoded image.Image) {
	t.Helper()
	encoded, err := os.ReadFile(scene)
	if err != nil {
		t.Fatal(err)
	}
	decoded, _, err = image.Decode(bytes.NewReader(encoded))
	if err != nil {
		t.Fatal(err)
	}
	return encoded, decoded
}

func TestEveryKindOfImage(t *testing.T) {
	model, img := demo(t)
	expected := run(t, model, florence2.Request{Image: img, Task: "<OD>"}, nil)
	encoded, decoded := decodedScene(t)
	read, err := florence2.ReadImage(bytes.NewReader(encoded))
	if err != nil {
		t.Fatal(err)
	}
	converted, err := florence2.NewImage(decoded)
	if err != nil {
		t.Fatal(err)
	}
	large := image.NewNRGBA(image.Rect(-5, -5, 300, 300))
	bounds := decoded.Bounds()
	for y := range bounds.Dy() {
		for x := range bounds.Dx() {
			large.Set(x, y, decoded.At(x, y))
		}
	}
	part, err := florence2.NewImage(large.SubImage(bounds))
	if err != nil {
		t.Fatal(err)
	}
	for _, other := range []*florence2.Image{read, converted, part} {
		if width, height := other.Size(); width != 192 || height != 192 {
			t.Errorf("%dx%d", width, height)
		}
		if result := objects(t, model, other, nil); !same(result, expected) {
			t.Errorf("found %s, expected %s", result.RawText, expected.RawText)
		}
	}
	if _, err := florence2.NewImage(image.NewGray(image.Rectangle{})); !errors.Is(err, florence2.ErrInvalidImage) {
		t.Error(err)
	}
}

func TestLargeImagesAreRefused(t *testing.T) {
	encoded, _ := decodedScene(t)
	exact, small := florence2.Decoder{MaxPixels: 192 * 192}, florence2.Decoder{MaxPixels: 192*192 - 1}
	for _, err := range []error{refusal(exact.OpenImage(scene)), refusal(exact.ReadImage(bytes.NewReader(encoded)))} {
		if err != nil {
			t.Error(err)
		}
	}
	for _, err := range []error{refusal(small.OpenImage(scene)), refusal(small.ReadImage(bytes.NewReader(encoded)))} {
		if !errors.Is(err, florence2.ErrInvalidImage) || !strings.Contains(err.Error(), "36863") {
			t.Errorf("found %v, expected an error about 36863 pixels", err)
		}
	}
	if _, err := (florence2.Decoder{MaxPixels: -1}).OpenImage(scene); !errors.Is(err, florence2.ErrInvalidArgument) {
		t.Errorf("found %v, expected an error about -1", err)
	}
}

// buffer stores an image as rows of pixels that end in a gap of 7 bytes.
func buffer(source image.Image, format florence2.PixelFormat, pixel func(color.NRGBA) []byte) florence2.Pixels {
	bounds := source.Bounds()
	pixels := florence2.Pixels{Width: bounds.Dx(), Height: bounds.Dy(), Format: format}
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			pixels.Data = append(pixels.Data, pixel(color.NRGBAModel.Convert(source.At(x, y)).(color.NRGBA))...)
		}
		pixels.Data = append(pixels.Data, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a, 0x5a)
	}
	pixels.Stride = len(pixels.Data) / pixels.Height
	return pixels
}

func TestPixelBuffersAndTheirRegions(t *testing.T) {
	model, img := demo(t)
	_, decoded := decodedScene(t)
	whole := run(t, model, florence2.Request{Image: img, Task: "<OD>"}, nil)
	region := image.Rect(20, 30, 150, 170)
	cut := image.NewNRGBA(region)
	for y := region.Min.Y; y < region.Max.Y; y++ {
		for x := region.Min.X; x < region.Max.X; x++ {
			cut.Set(x, y, decoded.At(x, y))
		}
	}
	cutImage, err := florence2.NewImage(cut)
	part := objects(t, model, cutImage, err)
	if same(whole, part) {
		t.Fatal("the region has the whole image's result")
	}
	for _, pixels := range []florence2.Pixels{
		buffer(decoded, florence2.RGB, func(c color.NRGBA) []byte { return []byte{c.R, c.G, c.B} }),
		buffer(decoded, florence2.RGBA, func(c color.NRGBA) []byte { return []byte{c.R, c.G, c.B, 9} }),
		buffer(decoded, florence2.BGR, func(c color.NRGBA) []byte { return []byte{c.B, c.G, c.R} }),
		buffer(decoded, florence2.BGRA, func(c color.NRGBA) []byte { return []byte{c.B, c.G, c.R, 9} }),
	} {
		made, err := florence2.NewImageFromPixels(pixels)
		if found := objects(t, model, made, err); !same(found, whole) {
			t.Errorf("format %d: found %s, expected %s", pixels.Format, found.RawText, whole.RawText)
		}
		pixels.Region = region
		made, err = florence2.NewImageFromPixels(pixels)
		if found := objects(t, model, made, err); !same(found, part) || found.Width != 130 || found.Height != 140 {
			t.Errorf("format %d: found %s, expected %s", pixels.Format, found.RawText, part.RawText)
		}
	}
}

// gray returns a light gray frame with a darker square, as luma with the limited range and as full-range gray.
func gray(width, height int) (luma, full []byte) {
	for y := range height {
		for x := range width {
			if x >= 30 && x < 70 && y >= 30 && y < 70 {
				luma, full = append(luma, 16), append(full, 0)
			} else {
				luma, full = append(luma, 235), append(full, 255)
			}
		}
	}
	return luma, full
}

func TestYUVFrames(t *testing.T) {
	model, _ := demo(t)
	const width, height = 95, 97
	const chroma = (width + 1) / 2 * ((height + 1) / 2)
	luma, full := gray(width, height)
	pixels := florence2.Pixels{Data: full, Width: width, Height: height, Format: florence2.Gray}
	neutral, reddish := bytes.Repeat([]byte{128}, 2*chroma), bytes.Repeat([]byte{170}, chroma)
	frames := []florence2.YUV{
		{Y: luma, U: neutral, Width: width, Height: height},
		{Y: luma, U: neutral, Width: width, Height: height, Matrix: florence2.BT709},
		{Y: full, U: neutral, Width: width, Height: height, Range: florence2.FullRange},
		{Y: luma, U: neutral[:chroma], V: neutral[:chroma], Width: width, Height: height, Format: florence2.I420},
	}
	// Rows of luma that end in a gap.
	padded := florence2.YUV{U: neutral, YStride: width + 5, Width: width, Height: height}
	for row := range slices.Chunk(luma, width) {
		padded.Y = append(append(padded.Y, row...), 1, 2, 3, 4, 5)
	}
	frames = append(frames, padded)
	for _, region := range []image.Rectangle{{}, image.Rect(11, 13, 95, 97)} {
		pixels.Region = region
		made, err := florence2.NewImageFromPixels(pixels)
		expected := objects(t, model, made, err)
		for index, frame := range frames {
			frame.Region = region
			made, err := florence2.NewImageFromYUV(frame)
			if found := objects(t, model, made, err); !same(found, expected) || found.Width != expected.Width {
				t.Errorf("frame %d: found %s, expected %s", index, found.RawText, expected.RawText)
			}
		}
		// The range, the chroma and the matrix count.
		limited, red := frames[2], frames[3]
		limited.Region, limited.Range = region, florence2.LimitedRange
		limited.Y = bytes.Repeat([]byte{60}, len(luma))
		dark, err := florence2.NewImageFromYUV(limited)
		if same(objects(t, model, dark, err), expected) {
			t.Error("a dark frame has the result of the light one")
		}
		red.Region, red.V = region, reddish
		made, err = florence2.NewImageFromYUV(red)
		bt601 := objects(t, model, made, err)
		red.Matrix = florence2.BT709
		made, err = florence2.NewImageFromYUV(red)
		bt709 := objects(t, model, made, err)
		if same(bt601, expected) || same(bt601, bt709) {
			t.Error("chroma or matrix are ignored")
		}
	}
}

func TestBuffersThatDoNotFitAreRefused(t *testing.T) {
	data := make([]byte, 64)
	for part, err := range map[string]error{
		"`Width`":        refusal(florence2.NewImageFromPixels(florence2.Pixels{Data: data, Width: -1, Height: 1})),
		"`Height`":       refusal(florence2.NewImageFromPixels(florence2.Pixels{Data: data, Width: 1, Height: -1})),
		"`Stride`":       refusal(florence2.NewImageFromPixels(florence2.Pixels{Data: data, Width: 1, Height: 1, Stride: -1})),
		"`Region.Min.X`": refusal(florence2.NewImageFromPixels(florence2.Pixels{Data: data, Width: 4, Height: 4, Region: image.Rect(-1, 0, 2, 2)})),
		"region":         refusal(florence2.NewImageFromPixels(florence2.Pixels{Data: data, Width: 4, Height: 4, Region: image.Rect(2, 2, 6, 4)})),
		"data":           refusal(florence2.NewImageFromPixels(florence2.Pixels{Data: data, Width: 400, Height: 4})),
		"pixels.format":  refusal(florence2.NewImageFromPixels(florence2.Pixels{Data: data, Width: 4, Height: 4, Format: 99})),
		"`uv`":           refusal(florence2.NewImageFromYUV(florence2.YUV{Y: data, U: data[:7], Width: 4, Height: 4})),
		"yuv.v":          refusal(florence2.NewImageFromYUV(florence2.YUV{Y: data, U: data, V: data, Width: 4, Height: 4})),
		"yuv.format":     refusal(florence2.NewImageFromYUV(florence2.YUV{Y: data, U: data, Width: 4, Height: 4, Format: 9})),
		"yuv.matrix":     refusal(florence2.NewImageFromYUV(florence2.YUV{Y: data, U: data, Width: 4, Height: 4, Matrix: 9})),
		"yuv.range":      refusal(florence2.NewImageFromYUV(florence2.YUV{Y: data, U: data, Width: 4, Height: 4, Range: 9})),
		"`UStride`":      refusal(florence2.NewImageFromYUV(florence2.YUV{Y: data, U: data, Width: 4, Height: 4, UStride: -4})),
		"`Region.Dx()`":  refusal(florence2.NewImageFromYUV(florence2.YUV{Y: data, U: data, Width: 4, Height: 4, Region: image.Rectangle{Min: image.Pt(2, 2)}})),
	} {
		if !errors.Is(err, florence2.ErrInvalidArgument) || !strings.Contains(err.Error(), part) {
			t.Errorf("found %v, expected an error with %q", err, part)
		}
	}
}
