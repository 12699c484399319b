package controller

import (
	"testing"
	"time"
)

func TestLeftOf(t *testing.T) {
	t0 := time.Date(2026, time.January, 1, 12, 0, 0, 0, time.UTC)
	hour := t0.Add(time.Hour)
	for name, tc := range map[string]struct {
		ttl                    int32
		created, finished, now time.Time
		want                   time.Duration
	}{
		"just finished":                  {60, t0, hour, hour, time.Minute},
		"finished for a while":           {60, t0, hour, hour.Add(59 * time.Second), time.Second},
		"over":                           {60, t0, hour, hour.Add(time.Minute), 0},
		"declared again long after":      {60, hour, t0, hour, time.Minute},
		"declared again, and over":       {60, hour, t0, hour.Add(2 * time.Minute), -time.Minute},
		"as soon as it is finished":      {0, t0, hour, hour, 0},
		"ten years":                      {315_360_000, t0, hour, hour, 3650 * 24 * time.Hour},
		"a clock that is behind, by a s": {60, t0, hour, hour.Add(-time.Second), 61 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			if got := leftOf(tc.ttl, tc.created, tc.finished, tc.now); got != tc.want {
				t.Errorf("%s left, want %s", got, tc.want)
			}
		})
	}
}
