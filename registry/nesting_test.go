package registry

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCheckNesting(t *testing.T) {
	t.Parallel()
	open := strings.Repeat("{", maxNesting)
	for label, source := range map[string]string{
		"empty":                "",
		"as deep as allowed":   open,
		"closed in between":    open + "}" + "{" + "}}" + "{{",
		"one after another":    strings.Repeat("{}[]<>", 1000),
		"closed too often":     "}}]>" + open,
		"line comment":         open + "// {{{\n",
		"block comment":        open + "/* { \n { */",
		"open comment":         open + "/* {",
		"string":               open + `"{" '{' "\"{" '\'{'`,
		"open string":          open + `"{`,
		"backslash at the end": open + `"\`,
		"each sort by itself":  open + strings.Repeat("[", maxNesting) + strings.Repeat("<", maxNesting),
	} {
		require.NoError(t, checkNesting(source), label)
	}
	for label, source := range map[string]string{
		"curly":                 open + "{",
		"square":                strings.Repeat("[", maxNesting+1),
		"angle":                 strings.Repeat("<", maxNesting+1),
		"closed in a comment":   open + "/*}*/ //}\n{",
		"closed in a string":    open + `"}" '}' {`,
		"closed by others":      open + "]>{",
		"after an open string":  open + "\"\n{",
		"closed too often":      "}}]>" + open + "{",
		"after a slash":         open + "/{",
		"after a closed string": open + `"\\"{`,
	} {
		require.ErrorContains(t, checkNesting(source), "nested", label)
	}
	assert.ErrorContains(t, checkNesting("\n/*\n*/\"\n"+open+"{"), "line 4: more than 100 nested { brackets")
}
