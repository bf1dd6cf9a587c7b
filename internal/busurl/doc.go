// Package busurl contains what the parsers of bus URLs share. It keeps secrets out of their errors.
package busurl
