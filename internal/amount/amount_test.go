package amount

import (
	"errors"
	"math"
	"testing"
)

func TestMilliSatToSat(t *testing.T) {
	for name, tc := range map[string]struct {
		msat    MilliSat
		want    Sat
		wantErr error
		ceil    Sat
	}{
		"nothing":               {msat: 0, want: 0, ceil: 0},
		"a thousandth":          {msat: 1, wantErr: ErrSubSatoshi, ceil: 1},
		"a thousandth short":    {msat: 999, wantErr: ErrSubSatoshi, ceil: 1},
		"one":                   {msat: 1000, want: 1, ceil: 1},
		"a thousandth too much": {msat: 1001, wantErr: ErrSubSatoshi, ceil: 2},
		"all there can be":      {msat: MaxSat.MilliSat(), want: MaxSat, ceil: MaxSat},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := tc.msat.Sat()
			if got != tc.want || !errors.Is(err, tc.wantErr) {
				t.Errorf("%d msat are %d sat, %v; want %d, %v", tc.msat, got, err, tc.want, tc.wantErr)
			}
			if got := tc.msat.CeilSat(); got != tc.ceil {
				t.Errorf("%d msat are %d sat rounded up, want %d", tc.msat, got, tc.ceil)
			}
		})
	}
}

func TestMaxSatFitsMilliSat(t *testing.T) {
	if MaxSat > math.MaxInt64/1000 {
		t.Errorf("%d sat overflow as msat", MaxSat)
	}
	if got := MaxSat.MilliSat() / 1000; Sat(got) != MaxSat {
		t.Errorf("%d sat are %d msat", MaxSat, MaxSat.MilliSat())
	}
}

func TestFeeFor(t *testing.T) {
	if got := SatPerVByte(5).FeeFor(326); got != 1630 {
		t.Errorf("326 vB at 5 sat/vB cost %d sat, want 1630", got)
	}
}
