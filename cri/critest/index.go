package critest

import (
	"errors"
	"strings"
)

// The reasons for which an ID does not resolve, in the words of the truncated-ID index that both runtimes use.
var (
	errUnknownID = errors.New("ID does not exist")
	errNoPrefix  = errors.New("prefix can't be empty")
)

type errAmbiguousID string

func (e errAmbiguousID) Error() string {
	return "Multiple IDs found with provided prefix: " + string(e)
}

// lookup finds the one element whose ID is, or begins with, id.
func lookup[T any](all []T, id string, idOf func(T) string) (T, error) {
	var found, none T
	if id == "" {
		return none, errNoPrefix
	}
	n := 0
	for _, e := range all {
		switch got := idOf(e); {
		case got == id:
			return e, nil
		case strings.HasPrefix(got, id):
			found = e
			n++
		}
	}
	switch n {
	case 0:
		return none, errUnknownID
	case 1:
		return found, nil
	default:
		return none, errAmbiguousID(id)
	}
}

// selects says whether labels hold every pair of the selector.
func selects(selector, labels map[string]string) bool {
	for k, v := range selector {
		if got, ok := labels[k]; !ok || got != v {
			return false
		}
	}
	return true
}
