package bolt11

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/btcsuite/btcd/address/v2/bech32"
	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/btcsuite/btcd/btcec/v2/ecdsa"

	"github.com/utexo/utexo-operator/internal/amount"
)

// Encode writes invoice in lower case and signs it with key, the payee's. It needs Prefix, PaymentHash, PaymentSecret, Timestamp,
// and Description or DescriptionHash (an empty Description is written where there is no hash); Expiry and MinFinalCLTVExpiry are
// written as they are, since readers' defaults differ. Payee may be zero; another key than key's is an error, and it is written only
// with PayeeNamed. Timestamp and Expiry lose their fraction of a second. The signature is that of RFC 6979: the same invoice and key
// give the same text. What Decode would refuse is not returned: its *Error is, wrapped.
func Encode(invoice *Invoice, key *btcec.PrivateKey) (string, error) {
	payee := [33]byte(key.PubKey().SerializeCompressed())
	if invoice.Payee != payee && invoice.Payee != ([33]byte{}) {
		return "", errors.New("encoding invoice: the signing key is not the payee's")
	}
	if !slices.Contains(knownPrefixes, invoice.Prefix) {
		return "", fmt.Errorf("encoding invoice: the prefix %q is none of %s", invoice.Prefix, strings.Join(knownPrefixes, ", "))
	}
	prefix := "ln" + invoice.Prefix
	if invoice.Amount != nil {
		if *invoice.Amount <= 0 {
			return "", fmt.Errorf("encoding invoice: an amount of %d msat", int64(*invoice.Amount))
		}
		prefix += formatAmount(*invoice.Amount)
	}
	groups, err := invoice.writeFields(payee)
	if err != nil {
		return "", fmt.Errorf("encoding invoice: %w", err)
	}
	text, err := sign(prefix, groups, key)
	if err == nil {
		_, err = Decode(text)
	}
	if err != nil {
		return "", fmt.Errorf("encoding invoice: %w", err)
	}
	return text, nil
}

// sign returns the invoice of a human-readable part and the data that goes before the signature.
func sign(prefix string, groups []byte, key *btcec.PrivateKey) (string, error) {
	digest := signingDigest(prefix, groups)
	compact := ecdsa.SignCompact(key, digest[:], true)
	signature := append(compact[1:], compact[0]-compressedKey)
	return bech32.Encode(prefix, slices.Concat(groups, regroup(signature)))
}

// formatAmount writes value with the largest multiplier that leaves a whole number.
func formatAmount(value amount.MilliSat) string {
	digits := func(unit amount.MilliSat) string { return strconv.FormatInt(int64(value/unit), 10) }
	switch {
	case value%msatPerBitcoin == 0:
		return digits(msatPerBitcoin)
	case value%100_000_000 == 0:
		return digits(100_000_000) + "m"
	case value%100_000 == 0:
		return digits(100_000) + "u"
	case value%100 == 0:
		return digits(100) + "n"
	}
	return digits(1) + "0p"
}

// writer collects 5-bit groups and keeps the first error.
type writer struct {
	groups []byte
	err    error
}

// writeFields returns the timestamp and the fields.
func (i *Invoice) writeFields(payee [33]byte) ([]byte, error) {
	seconds := i.Timestamp.Unix()
	if seconds < 0 || seconds >= 1<<(5*timestampGroups) {
		return nil, fmt.Errorf("the timestamp %s does not fit 35 bits", i.Timestamp.UTC().Format(time.RFC3339))
	}
	if i.Expiry < 0 {
		return nil, fmt.Errorf("an expiry of %s", i.Expiry)
	}
	if i.Description != "" && i.DescriptionHash != nil {
		return nil, errors.New("both a description and the hash of one")
	}
	var w writer
	for shift := 5 * (timestampGroups - 1); shift >= 0; shift -= 5 {
		w.groups = append(w.groups, byte(seconds>>shift&31))
	}
	w.bytes(tagPaymentHash, i.PaymentHash[:])
	w.bytes(tagPaymentSecret, i.PaymentSecret[:])
	if i.DescriptionHash != nil {
		w.bytes(tagDescriptionHash, i.DescriptionHash[:])
	} else {
		w.bytes(tagDescription, []byte(i.Description))
	}
	if i.PayeeNamed {
		w.bytes(tagPayee, payee[:])
	}
	w.integer(tagExpiry, uint64(i.Expiry/time.Second))
	w.integer(tagMinFinalCLTV, i.MinFinalCLTVExpiry)
	for _, fallback := range i.Fallbacks {
		w.field(tagFallback, append([]byte{fallback.Version}, regroup(fallback.Program)...))
	}
	for _, hint := range i.RouteHints {
		w.bytes(tagRouteHint, hopsBytes(hint))
	}
	if i.Metadata != nil {
		w.bytes(tagMetadata, i.Metadata)
	}
	if i.Asset != nil {
		w.bytes(tagAssetID, []byte(i.Asset.ID))
		w.integer(tagAssetAmount, i.Asset.Amount)
	}
	if len(i.Features) > 0 {
		w.features(i.Features)
	}
	for _, field := range i.Unknown {
		w.field(field.Tag, field.Data)
	}
	return w.groups, w.err
}

func (w *writer) field(tag byte, data []byte) {
	if len(data) > maxFieldGroups {
		w.err = errors.Join(w.err, fmt.Errorf("the field of tag %d has %d groups, more than the %d that fit", tag, len(data), maxFieldGroups))
		return
	}
	w.groups = append(w.groups, tag, byte(len(data)>>5), byte(len(data)&31))
	w.groups = append(w.groups, data...)
}

func (w *writer) bytes(tag byte, data []byte) { w.field(tag, regroup(data)) }

// integer writes value without leading zeros, which leaves nothing of 0.
func (w *writer) integer(tag byte, value uint64) {
	var groups []byte
	for shift := 60; shift >= 0; shift -= 5 {
		if group := byte(value >> shift & 31); group != 0 || len(groups) > 0 {
			groups = append(groups, group)
		}
	}
	w.field(tag, groups)
}

func (w *writer) features(features Features) {
	highest := uint16(0)
	for _, bit := range features {
		highest = max(highest, bit)
	}
	if highest >= 5*maxFieldGroups {
		w.err = errors.Join(w.err, fmt.Errorf("feature bit %d does not fit", highest))
		return
	}
	groups := make([]byte, highest/5+1)
	for _, bit := range features {
		groups[len(groups)-1-int(bit/5)] |= 1 << (bit % 5)
	}
	w.field(tagFeatures, groups)
}

func hopsBytes(hops []Hop) []byte {
	data := make([]byte, 0, len(hops)*hopBytes)
	for _, hop := range hops {
		data = append(data, hop.NodeID[:]...)
		data = binary.BigEndian.AppendUint64(data, hop.ShortChannelID)
		data = binary.BigEndian.AppendUint32(data, hop.FeeBaseMsat)
		data = binary.BigEndian.AppendUint32(data, hop.FeeProportionalMillionths)
		data = binary.BigEndian.AppendUint16(data, hop.CLTVExpiryDelta)
	}
	return data
}

// regroup returns data in 5-bit groups, padded with zeros.
func regroup(data []byte) []byte {
	// Cannot fail: bytes have 8 bits each and padding is allowed.
	groups, _ := bech32.ConvertBits(data, 8, 5, true)
	return groups
}
