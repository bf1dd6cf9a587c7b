package registry

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestCamelCase(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"":                 "",
		"Foo":              "Foo",
		"foo":              "Foo",
		"fooBar":           "FooBar",
		"my_snake_service": "MySnakeService",
		"get2nd":           "Get2Nd",
		"get_2nd":          "Get_2Nd",
		"a__b":             "A_B",
		"a_B":              "A_B",
		"a_":               "A_",
		"_":                "X",
		"__":               "X_",
		"_foo":             "XFoo",
		"_Foo":             "XFoo",
		"_2":               "X2",
		"__foo":            "XFoo",
		"doHTTPCall_2":     "DoHTTPCall_2",
		"_lead_2_digit_x":  "XLead_2DigitX",
		"ALL_CAPS":         "ALL_CAPS",
		"v1beta1_call":     "V1Beta1Call",
	} {
		assert.Equal(t, want, camelCase(name), name)
	}
}

var raised = regexp.MustCompile(`(^|_|[0-9])[a-z]`)

// camelCaseModel is a second implementation of camelCase. It uses a regular expression.
func camelCaseModel(name string) string {
	prefix := ""
	if rest, ok := strings.CutPrefix(name, "_"); ok {
		prefix, name = "X", rest
	}
	return prefix + raised.ReplaceAllStringFunc(name, func(match string) string {
		return strings.TrimPrefix(strings.ToUpper(match), "_")
	})
}

func FuzzCamelCase(f *testing.F) {
	for _, seed := range []string{"", "NormalRPC", "get2nd", "a__b", "_lead_2_digit_x", "doHTTPCall_2", "é_é"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if !identifier.MatchString(name) {
			// The result does not matter, because protobuf does not allow such a name. The only
			// requirement is that the function does not panic.
			_ = camelCase(name)
			return
		}
		wire := camelCase(name)
		assert.Equal(t, camelCaseModel(name), wire)
		assert.Equal(t, wire, camelCase(wire), "raised again")
	})
}

var identifier = regexp.MustCompile(`^[A-Za-z0-9_]*$`)
