package rest

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseTemplate_Refuses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                   "column 1: want a slash",
		"v1":                 "column 1: want a slash",
		"/":                  "column 2: want a segment",
		"/v1/":               "column 5: want a segment",
		"/v1//a":             "column 5: want a segment",
		"/v1/**/a":           "column 7: ** must be the last segment",
		"/v1/{a=**}/b":       "column 11: ** must be the last segment",
		"/v1/{a":             "column 6: want a variable",
		"/v1/{}":             "column 6: want a variable",
		"/v1/{a=}":           "column 8: want a segment",
		"/v1/{a=x":           "column 9: want a closing brace",
		"/v1/{a={b}}":        "column 8: want a segment",
		"/v1/{a}/{a}":        "variable a occurs twice",
		"/v1/{a}b":           "column 8: want the end",
		"/v1/a:":             "column 7: want a segment",
		"/v1/a:b/c":          "column 8: want the end",
		"/v1/%zz":            "invalid URL escape",
		"/v1?a=b":            "column 4: want the end",
		"/v1/{a=x/*/**/y/*}": "** must be the last segment",
	} {
		_, err := parseTemplate(text)
		require.ErrorContains(t, err, want, text)
	}
}

// A path that is made from a template must match the template, and its variables must have the
// values that were put in.
func FuzzTemplate(f *testing.F) {
	f.Add("/v1/{name=shelves/*/books/*}:archive", "a b")
	f.Add("/v1/{a.b}/*/x%20y/{c=**}", "%2F")
	f.Add("/{a}:b", "c:d")
	f.Add("/*/{x=**}", "")
	f.Fuzz(func(t *testing.T, text, value string) {
		parsed, err := parseTemplate(text)
		if err != nil {
			return
		}
		value = strings.ReplaceAll(value, "/", "")
		if value == "" {
			value = "v"
		}
		var path strings.Builder
		segments := make([]string, 0, len(parsed.segments))
		for _, s := range parsed.segments {
			segment := s.text
			if s.kind != kindLiteral {
				segment = value
			}
			segments = append(segments, segment)
			path.WriteString("/" + escape(segment))
		}
		if parsed.verb != "" {
			path.WriteString(":" + escape(parsed.verb))
		}
		var root node
		r := &route{httpMethod: http.MethodGet, path: text, template: parsed}
		require.NoError(t, root.insert(r))
		found, values, allow := root.findRoute(http.MethodGet, path.String())
		require.Same(t, r, found, "%s does not match %s", path.String(), text)
		require.Empty(t, allow)
		for i, v := range parsed.variables {
			want := strings.Join(segments[v.start:v.end], "/")
			if !strings.ContainsAny(want, "/%") || !v.multiple {
				assert.Equal(t, want, values[i])
			}
		}
		_, _, allow = root.findRoute(http.MethodPost, path.String())
		assert.Equal(t, []string{http.MethodGet}, allow)
	})
}

// escape percent-encodes a segment, including colons, as some clients do.
func escape(segment string) string {
	return strings.ReplaceAll(url.PathEscape(segment), ":", "%3A")
}
