package api

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// maxUnix is the last second that RFC 3339 can write, the end of the year 9999.
const maxUnix = 253402300799

// Instant is a point in time of the service's answers; the zero time where there was none or it could not be read. Nothing that
// moves money depends on one, and an answer about money is not thrown away because a clock was spelled in a new way.
type Instant struct{ time.Time }

// UnmarshalJSON takes RFC 3339 with or without a fraction, the same without a zone (UTC then), and Unix seconds as a number or as
// text. It never fails.
func (i *Instant) UnmarshalJSON(data []byte) error {
	*i = Instant{}
	var text string
	if json.Unmarshal(data, &text) != nil {
		text = string(data)
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05"} { // both take a fraction when they parse
		if t, err := time.Parse(layout, text); err == nil {
			i.Time = t.UTC()
			return nil
		}
	}
	whole, _, _ := strings.Cut(text, ".")
	if seconds, err := strconv.ParseInt(whole, 10, 64); err == nil && seconds > 0 && seconds <= maxUnix {
		i.Time = time.Unix(seconds, 0).UTC()
	}
	return nil
}

var _ json.Unmarshaler = (*Instant)(nil)
