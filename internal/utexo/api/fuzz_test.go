package api

import (
	"encoding/json"
	"testing"
)

// FuzzInstant holds that an instant, in whichever form a deployment writes it, is one that JSON can write again, or none.
func FuzzInstant(f *testing.F) {
	for _, seed := range []string{
		`"2026-01-08T12:00:00Z"`, `"2026-01-08T12:00:00.123456+02:00"`, `"2026-01-08 12:00:00"`, `1767873600`, `"1767873600"`, `1767873600.5`, `null`, `0`,
		`-1`, `""`, `"yesterday"`, `{}`, `1e300`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var instant Instant
		if err := json.Unmarshal(data, &instant); err != nil {
			return
		}
		if instant.IsZero() {
			return
		}
		if _, err := instant.MarshalJSON(); err != nil {
			t.Fatalf("%q is %v, which cannot be written: %v", data, instant.Time, err)
		}
	})
}
