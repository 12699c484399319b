// Package amount holds the units of money. Every amount in this project is an integer in one of them; there is no floating point
// anywhere on a money path.
package amount

import (
	"errors"
	"fmt"
)

// Sat is an amount of bitcoin in satoshi, 10⁻⁸ BTC.
type Sat int64

// MilliSat is an amount of bitcoin in thousandths of a satoshi, the unit of BOLT 11.
type MilliSat int64

// SatPerVByte is a fee rate in satoshi per virtual byte (BIP 141).
type SatPerVByte int64

// MaxSat is all the bitcoin there can be: 21 million BTC in sat.
const MaxSat Sat = 21_000_000 * 100_000_000

// ErrSubSatoshi says that an amount in msat is not a whole number of sat. It is never rounded: rounding down pays less than was
// asked, rounding up more than was declared.
var ErrSubSatoshi = errors.New("amount is not a whole number of satoshi")

// MilliSat returns s in msat. It does not overflow for amounts up to MaxSat.
func (s Sat) MilliSat() MilliSat { return MilliSat(s) * 1000 }

// Sat returns m in sat, or ErrSubSatoshi where m is not a whole number of them.
func (m MilliSat) Sat() (Sat, error) {
	if m%1000 != 0 {
		return 0, fmt.Errorf("%d msat: %w", int64(m), ErrSubSatoshi)
	}
	return Sat(m / 1000), nil
}

// CeilSat returns m in sat, rounded up. For limits, where more is the safe side; never for what is paid.
func (m MilliSat) CeilSat() Sat { return Sat((m + 999) / 1000) }

// FeeFor returns the fee, in sat, rounded up, of a transaction of vsize virtual bytes at rate r.
func (r SatPerVByte) FeeFor(vsize int64) Sat { return Sat(int64(r) * vsize) }
