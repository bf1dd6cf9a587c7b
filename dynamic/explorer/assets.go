package explorer

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strings"
	"sync"
)

//go:embed pages
var embedded embed.FS

// asset is a file of the pages.
type asset struct {
	contentType string
	// etag identifies the content. Browsers send it to find out whether the content has changed.
	etag    string
	content []byte
	// compressed is the content compressed by gzip. It is nil if that is not smaller.
	compressed []byte
}

// loadPages returns the embedded files, keyed by their paths below the folder pages.
var loadPages = sync.OnceValues(func() (map[string]*asset, error) {
	pages := map[string]*asset{}
	err := fs.WalkDir(embedded, "pages", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := embedded.ReadFile(name)
		if err != nil {
			return err
		}
		pages[strings.TrimPrefix(name, "pages/")] = newAsset(name, content)
		return nil
	})
	return pages, err
})

func newAsset(name string, content []byte) *asset {
	hash := sha256.Sum256(content)
	a := &asset{contentType: contentType(name), etag: `"` + hex.EncodeToString(hash[:12]) + `"`, content: content}
	if compressed := compress(content); len(compressed) < len(content) {
		a.compressed = compressed
	}
	return a
}

// contentType returns the content type of a file. Package mime is not sufficient, because the
// operating system may declare another type for JavaScript.
func contentType(name string) string {
	switch path.Ext(name) {
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".html":
		return "text/html; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	}
	if byName := mime.TypeByExtension(path.Ext(name)); byName != "" {
		return byName
	}
	return "application/octet-stream"
}

// compress compresses the content by gzip.
func compress(content []byte) []byte {
	var compressed bytes.Buffer
	writer, _ := gzip.NewWriterLevel(&compressed, gzip.BestCompression) // the level is valid
	_, _ = writer.Write(content)                                        // a buffer returns no errors
	_ = writer.Close()
	return compressed.Bytes()
}

func (a *asset) serve(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Content-Type", a.contentType)
	header.Set("Vary", "Accept-Encoding")
	// The browser may store the file, but must ask each time whether it has changed.
	header.Set("Cache-Control", "no-cache")
	header.Set("ETag", a.etag)
	if strings.Contains(r.Header.Get("If-None-Match"), a.etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	content := a.content
	if a.compressed != nil && acceptsGzip(r) {
		header.Set("Content-Encoding", "gzip")
		content = a.compressed
	}
	_, _ = w.Write(content)
}
