package transport

import (
	"strings"

	"github.com/dynpsrpc/dynpsrpc/registry"
)

// Suggest returns, as the end of an error's text, the name of the method that was most likely meant; or nothing.
func Suggest(name string, methods []*registry.Method, nameOf func(*registry.Method) string) string {
	method := name[strings.LastIndexAny(name, "/.")+1:]
	best, bestDistance := "", 1+min(3, (len(method)+2)/3) // so many wrong letters make another name
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

// editDistance counts the letters to insert, delete or replace to get from a to b; limit if there are that many.
func editDistance(a, b string, limit int) int {
	if max(len(a)-len(b), len(b)-len(a)) >= limit {
		return limit
	}
	distances := make([]int, len(b)+1) // distances from the part of a that was seen to the beginnings of b
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
