package app

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// Format is an output format, as set with the flag --output.
type Format string

const (
	// FormatTable is text for people. It is the default.
	FormatTable Format = "table"
	// FormatJSON is one JSON document per line.
	FormatJSON Format = "json"
	// FormatWide is FormatTable with more columns.
	FormatWide Format = "wide"
	// FormatName is the first column of a table, without its header.
	FormatName Format = "name"
)

const colorAuto, colorAlways, colorNever = "auto", "always", "never"

var (
	formats = []string{string(FormatTable), string(FormatJSON), string(FormatWide), string(FormatName)}
	colors  = []string{colorAuto, colorAlways, colorNever}
)

// Format returns the format of the output.
func (a *App) Format() Format { return Format(a.Flags.Output) }

// Wide reports whether the format is wide, in which tables have more columns.
func (a *App) Wide() bool { return a.Format() == FormatWide }

// Printf writes text to the standard output. It is for text in the formats table and wide.
func (a *App) Printf(format string, args ...any) error {
	return a.write(fmt.Sprintf(format, args...))
}

// Notef writes a line that begins with # to standard error, unless -q is given.
func (a *App) Notef(format string, args ...any) {
	if !a.Flags.Quiet {
		a.writeErr("# " + Printable(fmt.Sprintf(format, args...)) + "\n")
	}
}

// Verbosef is like Notef, but writes only if -v is given.
func (a *App) Verbosef(format string, args ...any) {
	if a.Flags.Verbose {
		a.Notef(format, args...)
	}
}

// Warnf writes a warning to the standard error, unless -q is given.
func (a *App) Warnf(format string, args ...any) { a.Notef("warning: "+format, args...) }

// Table writes rows in columns below their headers. With -o name, it writes only the first column
// of the rows. Characters that control a terminal are removed from the cells, because their text
// may come from a peer.
func (a *App) Table(headers []string, rows [][]string) error {
	if a.Format() == FormatName {
		var names strings.Builder
		for _, row := range rows {
			names.WriteString(OneLine(row[0]) + "\n")
		}
		return a.write(names.String())
	}
	styled := make([]string, len(headers))
	for i, header := range headers {
		styled[i] = a.Styled(StyleBold, header)
	}
	return a.write(alignColumns(append([][]string{styled}, rows...)))
}

// alignColumns returns rows as text with columns that are two spaces apart.
func alignColumns(rows [][]string) string {
	var widths []int
	clean := make([][]string, len(rows))
	for i, row := range rows {
		clean[i] = slices.Clone(row)
		for j, cell := range row {
			clean[i][j] = OneLine(cell)
			if j == len(widths) {
				widths = append(widths, 0)
			}
			widths[j] = max(widths[j], displayWidth(clean[i][j]))
		}
	}
	var text strings.Builder
	for _, row := range clean {
		var line strings.Builder
		for j, cell := range row {
			line.WriteString(cell + strings.Repeat(" ", widths[j]-displayWidth(cell)+2))
		}
		text.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	return text.String()
}

// Style is how text is shown on a terminal.
type Style string

// These are the styles that tables use.
const (
	StyleBold   Style = "1"
	StyleRed    Style = "31"
	StyleGreen  Style = "32"
	StyleYellow Style = "33"
)

// Styled returns text in a style, or text itself if the output has no colors.
func (a *App) Styled(style Style, text string) string {
	if !a.colored() || text == "" {
		return text
	}
	return "\x1b[" + string(style) + "m" + text + "\x1b[0m"
}

func (a *App) colored() bool {
	switch a.Flags.Color {
	case colorAlways:
		return true
	case colorNever:
		return false
	default:
		return a.Terminal && a.Env("NO_COLOR") == ""
	}
}

// styleSequence matches only the styles that Styled adds, because other styles could hide text.
var styleSequence = regexp.MustCompile("\x1b\\[([01]|3[123])m")

func displayWidth(text string) int {
	return utf8.RuneCountInString(styleSequence.ReplaceAllString(text, ""))
}

// Printable returns text without the characters that control a terminal, except for line breaks and
// the styles of [App.Styled].
func Printable(text string) string {
	if strings.IndexFunc(text, isControl) < 0 {
		return text
	}
	var printable strings.Builder
	end := 0
	for _, sequence := range styleSequence.FindAllStringIndex(text, -1) {
		printable.WriteString(withoutControls(text[end:sequence[0]]) + text[sequence[0]:sequence[1]])
		end = sequence[1]
	}
	return printable.String() + withoutControls(text[end:])
}

// OneLine is like [Printable], but replaces line breaks by spaces, so that text from a peer cannot
// look like a line of its own.
func OneLine(text string) string { return strings.ReplaceAll(Printable(text), "\n", " ") }

func withoutControls(text string) string {
	return strings.Map(func(r rune) rune {
		if isControl(r) {
			return -1
		}
		return r
	}, text)
}

func isControl(r rune) bool { return unicode.IsControl(r) && r != '\n' }

func (a *App) write(text string) error {
	a.writing.Lock()
	defer a.writing.Unlock()
	_, err := io.WriteString(a.Out, text)
	return err
}

// writeErr writes text to the standard error. A write error is ignored, because there is nowhere to
// report it.
func (a *App) writeErr(text string) { _, _ = io.WriteString(a.lockedErr(), text) }

// lockedErr returns a writer to the standard error. Several goroutines may use the writer at once.
func (a *App) lockedErr() io.Writer { return lockedWriter{&a.writing, a.Err} }

type lockedWriter struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}
