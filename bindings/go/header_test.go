package florence2

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// Every function of the header is called by the package, or the package's comment names it with the reason.
func TestEveryFunctionOfTheHeaderIsReachable(t *testing.T) {
	header, err := os.ReadFile("../../include/florence2.h")
	if err != nil {
		t.Fatal(err)
	}
	sources, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	for _, source := range sources {
		code, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range regexp.MustCompile(`florence2_\w+`).FindAllString(string(code), -1) {
			used[name] = true
		}
	}
	comments := regexp.MustCompile(`(?s)/\*.*?\*/`)
	functions := regexp.MustCompile(`(florence2_\w+)\(`).FindAllStringSubmatch(comments.ReplaceAllString(string(header), ""), -1)
	if len(functions) < 60 {
		t.Fatalf("found %d functions in the header, expected more", len(functions))
	}
	for _, function := range functions {
		if !used[function[1]] {
			t.Errorf("%s: found no call and no comment", function[1])
		}
	}
}
