package transport

import (
	"strings"

	"github.com/dynpsrpc/dynpsrpc/registry"
)

// maxTypos is the maximum edit distance between a method name and a misspelling of it. For short
// names, the maximum is lower.
const maxTypos = 3

// Suggest returns "; did you mean X?", to be appended to an error about an unknown method. The
// candidates for X are the results of calling nameOf for each element of methods. X is the
// candidate that is most similar to name. Suggest returns "" if no candidate is similar to name.
//
// A candidate is similar to name if the edit distance between them, ignoring case, is small enough.
// The distance must be at most three, and at most a third of the length of the method part of name,
// rounded up. A candidate is also similar if it is a full name that ends with name, for example
// because name lacks the package.
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
	// distances[j] is the distance between the bytes of a that have been processed and b[:j]. Only
	// one row of the usual matrix is kept; diagonal is the element above and to the left of the
	// current one.
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
