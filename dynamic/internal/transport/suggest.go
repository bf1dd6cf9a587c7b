package transport

import (
	"strings"

	"github.com/dynpsrpc/dynpsrpc/registry"
)

// maxTypos is the maximum edit distance at which a name counts as a misspelled method name. For
// short names, the maximum is lower.
const maxTypos = 3

// Suggest returns the text "; did you mean X?", which can be appended to an error about an unknown
// method. X is the method name that is most similar to name. Suggest calls nameOf to get the name
// of each method in methods. It returns "" if no method name is similar to name.
//
// A method name is similar if the edit distance to name, ignoring case, is small enough. The
// distance must be at most three. It must also be at most a third, rounded up, of the length of the
// method part of name. A method name is also similar if it ends with name, for example because name
// lacks the package.
func Suggest(name string, methods []*registry.Method, nameOf func(*registry.Method) string) string {
	method := name[strings.LastIndexAny(name, "/.")+1:]
	best, bestDistance := "", 1+min(maxTypos, (len(method)+2)/3)
	for _, m := range methods {
		candidate := nameOf(m)
		distance := editDistance(strings.ToLower(name), strings.ToLower(candidate), bestDistance)
		if strings.HasSuffix(candidate, "/"+name) || strings.HasSuffix(candidate, "."+name) {
			distance = 0
		}
		if distance < bestDistance {
			best, bestDistance = candidate, distance
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}

// editDistance returns the Levenshtein distance between a and b: the number of bytes that must be
// inserted, deleted or replaced to turn a into b. If the distance is greater than limit,
// editDistance returns limit.
func editDistance(a, b string, limit int) int {
	if max(len(a)-len(b), len(b)-len(a)) >= limit {
		return limit
	}
	// distances[j] is the distance between the first i bytes of a and the first j bytes of b. The
	// slice is the current row of the usual matrix. The variable diagonal is the element of the
	// previous row that was overwritten last.
	distances := make([]int, len(b)+1)
	for j := range distances {
		distances[j] = j
	}
	for i := range len(a) {
		diagonal := distances[0]
		distances[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = distances[j+1]
			distances[j+1] = min(replaced, distances[j]+1, distances[j+1]+1)
		}
	}
	return min(distances[len(b)], limit)
}
