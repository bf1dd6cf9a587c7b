package load

import (
	"encoding/csv"
	"fmt"
	"html/template"
	"io"
	"strconv"
	"time"
)

// Report is a result together with the method, the bus and the loop for which it was measured.
type Report struct {
	// Method is the full name of the method, and Kind its kind.
	Method string `json:"method"`
	Kind   string `json:"kind"`
	// Bus is the URL of the bus without user and password.
	Bus string `json:"bus"`
	// Loop describes how the load was made, for example "closed loop, 64 callers".
	Loop string `json:"loop"`
	*Result
	// Broken has one sentence for each threshold that was not kept.
	Broken []string `json:"broken_thresholds,omitempty"`
}

// WriteCSV writes a CSV file with one line for each second of the run.
func (r *Report) WriteCSV(w io.Writer) error {
	out := csv.NewWriter(w)
	lines := [][]string{{"second", "completed", "failed", "p50_us", "p99_us"}}
	for _, s := range r.Seconds {
		lines = append(lines, []string{
			strconv.FormatFloat(s.At.Seconds(), 'f', 3, 64),
			strconv.FormatUint(s.Completed, 10), strconv.FormatUint(s.Failed, 10),
			micros(s.P50), micros(s.P99),
		})
	}
	return out.WriteAll(lines)
}

func micros(d time.Duration) string {
	return strconv.FormatFloat(float64(d)/float64(time.Microsecond), 'f', 1, 64)
}

// WriteHTML writes an HTML page that contains everything it needs, so it can be opened without
// other files.
func (r *Report) WriteHTML(w io.Writer) error { return page.Execute(w, r) }

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"round":   Round,
	"percent": func(ratio float64) string { return fmt.Sprintf("%.3g %%", 100*ratio) },
	"rate":    func(perSecond float64) string { return fmt.Sprintf("%.4g", perSecond) },
	"line":    polyline,
}).Parse(`<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{{.Method}}</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 60em; color-scheme: light dark }
table { border-collapse: collapse } td, th { padding: .2em 1em .2em 0; text-align: right } th { font-weight: 600 }
svg { width: 100%; height: 12em; border: 1px solid #8888 } polyline { fill: none; stroke-width: 1.5; vector-effect: non-scaling-stroke }
.broken { color: #c33 }
</style></head><body>
<h1>{{.Method}}</h1>
<p>{{.Kind}}, {{.Bus}}, {{.Loop}}, from {{.Started.UTC.Format "2006-01-02 15:04:05"}} UTC for {{round .Elapsed}}</p>
{{range .Broken}}<p class="broken">{{.}}</p>{{end}}
<table><tr><th>per second</th><th>mean</th><th>p50</th><th>p90</th><th>p99</th><th>p99.9</th><th>max</th><th>errors</th></tr>
{{with .MainLatency}}<tr><td>{{rate $.PerSecond}}</td><td>{{round .Mean}}</td><td>{{round .P50}}</td><td>{{round .P90}}</td>
<td>{{round .P99}}</td><td>{{round .P999}}</td><td>{{round .Max}}</td><td>{{percent $.ErrorRatio}}</td></tr>{{end}}</table>
{{with .Errors}}<h2>Errors</h2><table>{{range $code, $n := .}}<tr><td>{{$n}}</td><td>{{$code}}</td></tr>{{end}}</table>
<p>{{$.FirstError}}</p>{{end}}
{{if gt (len .Seconds) 1}}
<h2>Completed each second</h2>
<svg viewBox="0 0 100 100" preserveAspectRatio="none"><polyline stroke="#37c" {{line .Seconds "completed"}}/></svg>
<h2>p50 and p99 each second</h2>
<svg viewBox="0 0 100 100" preserveAspectRatio="none"><polyline stroke="#37c" {{line .Seconds "p50"}}/><polyline stroke="#c33" {{line .Seconds "p99"}}/></svg>
{{end}}
</body></html>
`))

// polyline returns the points of a line in a picture of 100 by 100. The lines of the p50 and the
// p99 have the same scale, so that they can be compared.
func polyline(all []Second, of string) template.HTMLAttr {
	value := func(s Second) float64 { return float64(s.Completed) }
	scale := value
	switch of {
	case "p50":
		value = func(s Second) float64 { return float64(s.P50) }
		scale = func(s Second) float64 { return float64(s.P99) }
	case "p99":
		value = func(s Second) float64 { return float64(s.P99) }
		scale = value
	}
	highest := 1.0
	for _, s := range all {
		highest = max(highest, scale(s))
	}
	points := make([]byte, 0, 16*len(all))
	for i, s := range all {
		x, y := 100*float64(i)/float64(max(len(all)-1, 1)), 98-96*value(s)/highest
		points = fmt.Appendf(points, "%.2f,%.2f ", x, y)
	}
	return template.HTMLAttr(fmt.Sprintf("points=%q", points)) //nolint:gosec // only numbers
}
