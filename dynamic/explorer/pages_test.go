package explorer

import (
	"bytes"
	"compress/gzip"
	"io/fs"
	"path"
	"regexp"
	"strings"
	"testing"
)

// pageFiles returns the contents of the embedded files, keyed by path.
func pageFiles(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := fs.WalkDir(embedded, "pages", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(embedded, name)
		files[strings.TrimPrefix(name, "pages/")] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestPagesReferToEachOther finds references to modules, styles and pictures that do not exist.
// Otherwise, only a browser would notice them.
func TestPagesReferToEachOther(t *testing.T) {
	files := pageFiles(t)
	imported := regexp.MustCompile(`(?:from|import|file:)\s*\(?'(\.[^']+)'`)
	linked := regexp.MustCompile(`(?:href|src)="(?:assets/)([^"]+)"`)
	references := 0
	for name, content := range files {
		for _, match := range imported.FindAllStringSubmatch(content, -1) {
			references++
			if target := path.Join(path.Dir(name), match[1]); files[target] == "" {
				t.Errorf("%s refers to %s, which does not exist", name, target)
			}
		}
		for _, match := range linked.FindAllStringSubmatch(content, -1) {
			references++
			if files[match[1]] == "" {
				t.Errorf("%s refers to %s, which does not exist", name, match[1])
			}
		}
	}
	if references < 30 {
		t.Errorf("found only %d references", references)
	}
}

// TestPagesObeyThePolicy checks that the files contain nothing that the content security policy
// forbids, no code that builds HTML from text, and no addresses of other hosts.
func TestPagesObeyThePolicy(t *testing.T) {
	forbidden := []struct {
		what    string
		pattern *regexp.Regexp
		allowed string
	}{
		{"HTML made of text", regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser`), "lib/html.js"},
		{"code made of text", regexp.MustCompile(`\beval\(|new Function\(`), ""},
		{"an attribute style", regexp.MustCompile(`\sstyle="`), ""},
		{"a listener as an attribute", regexp.MustCompile(`\son[a-z]+="`), ""},
		{"an element style or an inline script", regexp.MustCompile(`<style|<script>`), ""},
		{"an address outside", regexp.MustCompile(`(?:src|href|import|fetch)\W{1,3}https?://`), ""},
	}
	for name, content := range pageFiles(t) {
		for _, f := range forbidden {
			if found := f.pattern.FindString(content); found != "" && name != f.allowed {
				t.Errorf("%s contains %s: %s", name, f.what, found)
			}
		}
	}
}

// TestPagesAreSmall limits the compressed size of the files that a browser loads for the first
// view.
func TestPagesAreSmall(t *testing.T) {
	files := pageFiles(t)
	first := []string{"index.html", "icon.svg"}
	for _, match := range regexp.MustCompile(`(?:href|src)="assets/([^"]+)"`).FindAllStringSubmatch(files["index.html"], -1) {
		first = append(first, match[1])
	}
	var compressed bytes.Buffer
	for _, name := range first {
		writer := gzip.NewWriter(&compressed)
		if _, err := writer.Write([]byte(files[name])); err != nil {
			t.Fatal(err)
		}
		if err := writer.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if limit := 40 << 10; compressed.Len() > limit {
		t.Errorf("the first view loads %d bytes, want at most %d", compressed.Len(), limit)
	}
}
