package dynamic

import (
	"strings"

	"github.com/dynpsrpc/dynpsrpc/registry"
)

// suggest returns, as the end of an error's text, the name of the method that was most likely meant; or nothing.
func suggest(name string, methods []*registry.Method, nameOf func(*registry.Method) string) string {
	method := name[strings.LastIndexAny(name, "/.")+1:]
	best, least := "", 1+min(3, (len(method)+2)/3) // so many wrong letters make another name
	for _, m := range methods {
		candidate := nameOf(m)
		distance := editDistance(strings.ToLower(name), strings.ToLower(candidate), least)
		if strings.HasSuffix(candidate, "/"+name) || strings.HasSuffix(candidate, "."+name) {
			distance = 0
		}
		if distance < least {
			best, least = candidate, distance
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
	row := make([]int, len(b)+1) // distances from the part of a that was seen to the beginnings of b
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, row[j+1]+1)
		}
	}
	return min(row[len(b)], limit)
}
