package explorer

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The form must show what is wrong with a request before it is sent.
func TestForm_Problems(t *testing.T) {
	t.Parallel()
	w := newWorld(t, brokers["redis"](t))
	p := openExplorer(t, w)
	for request, problem := range map[string]string{
		`{"name": "tea", "count": -2147483648, "size": "SIZE_SMALL", "tags": ["hot"], "box": "18446744073709551615"}`: "",
		`{"stock": {"Rome": 4}, "made": "2026-01-31T12:00:00.5+01:00", "warranty": "1.5s", "picture": "AAE="}`:        "",
		`{"extra": {"@type": "type.googleapis.com/shop.Maker", "name": "Ada"}}`:                                       "",
		`[]`:                          "must be an object: a shop.Item",
		`{"nme": "tea"}`:              "nme: shop.Item has no such field; did you mean name?",
		`{"count": 2147483648}`:       "count: must be between -2147483648 and 2147483647",
		`{"count": 1.5}`:              "count: must be a whole number",
		`{"size": "SIZE_LARG"}`:       "size: is not a value of the enum; did you mean SIZE_LARGE?",
		`{"fragile": "yes"}`:          "fragile: must be true or false",
		`{"tags": "hot"}`:             "tags: must be an array: the field is repeated",
		`{"tags": [1]}`:               "tags[0]: must be a string",
		`{"stock": []}`:               "stock: must be an object: it is a map",
		`{"stock": {"Rome": "many"}}`: `stock["Rome"]: must be a whole number`,
		`{"maker": {"town": "Rome"}}`: "maker.town: shop.Maker has no such field",
		`{"shelf": "a", "box": 1}`:    "only one of shelf, box may be set: they are the oneof place",
		`{"made": "yesterday"}`:       "made: must be a time such as 2026-01-31T12:00:00Z",
		`{"warranty": "long"}`:        "warranty: must be a duration such as 1.5s, 250ms or 2m",
		`{"picture": "?"}`:            "picture: must be Base64",
		`{"extra": {"@type": "x/shop.Maker", "n": 1}}`: "extra.n: shop.Maker has no such field",
	} {
		found := eval[string](p, `Promise.all([import('/assets/form-schema.js'), fetch('/api/services/shop.Shop/schema').then((r) => r.json())])
			.then(([{check}, schema]) => check(schema, 'shop.Item', JSON.parse(%s)).map(({path, text}) => (path ? path + ': ' : '') + text).join('; '))`, request)
		assert.Equal(t, problem, found, request)
	}
}

// It must be possible to edit fields of every type in the form, and the JSON beside it must show
// the result.
func TestForm_Fields(t *testing.T) {
	t.Parallel()
	w := newWorld(t, brokers["redis"](t))
	p := openMethod(t, w, "Get")
	p.fill("textbox", "name", "pot")
	p.click("checkbox", "fragile")
	p.click("button", "Add to tags")
	p.fill("textbox", "tags 1", "hot")
	p.click("button", "Add to stock")
	p.fill("textbox", "key of stock", "Rome")
	p.press("\t")
	p.fill("textbox", "value of Rome", "4")
	p.click("button", "Set maker")
	p.fill("textbox", "country", "Italy")
	p.choose("Field of place", "box")
	p.fill("textbox", "box", "12345678901234567890")
	p.click("button", "Set warranty")
	p.fill("textbox", "warranty", "2m")
	p.click("button", "Set extra")
	p.choose("Type of extra", "shop.Maker")
	p.eventually(`tester.find('textbox', 'JSON').value.includes('shop.Maker')`)
	require.JSONEq(t, `{
		"name": "pot", "fragile": true, "tags": ["hot"], "stock": {"Rome": 4}, "maker": {"country": "Italy"}, "box": "12345678901234567890",
		"warranty": "120s", "extra": {"@type": "type.googleapis.com/shop.Maker"}
	}`, eval[string](p, `tester.find('textbox', 'JSON').value`))

	p.isAccessible("a filled form")
	p.fill("textbox", "box", "-1")
	p.shows("box must be between 0 and 18446744073709551615")
	p.eventually(`tester.find('button', 'Call').getAttribute('aria-disabled')`)
	p.choose("Field of place", "none")
	p.click("button", "Remove maker")
	p.click("button", "Call")
	p.eventually(`/"(ada|bob|carl|eve)": 1/.test(tester.text())`)
	p.shows("publish")
	p.shows("response")
	p.isAccessible("a response")
}

// When a control is replaced by another one, the focus must stay in its place.
func TestForm_KeepsTheFocus(t *testing.T) {
	t.Parallel()
	w := newWorld(t, brokers["redis"](t))
	p := openMethod(t, w, "Get")
	for _, step := range []struct{ role, name, then, thenName string }{
		{"button", "Add to tags", "button", "Add to tags"},
		{"button", "Remove tags 1", "button", "Add to tags"},
		{"button", "Set warranty", "textbox", "warranty"},
		{"button", "Clear warranty", "button", "Set warranty"},
		{"button", "Set maker", "group", "maker"},
		{"button", "Remove maker", "button", "Set maker"},
		{"button", "Call", "button", "Call"},
	} {
		p.tabTo(step.role, step.name)
		p.press("\r")
		p.eventually("tester.focused(%s, %s)", step.then, step.thenName)
	}
}
