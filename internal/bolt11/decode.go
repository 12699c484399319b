package bolt11

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/btcsuite/btcd/address/v2/bech32"
	"github.com/btcsuite/btcd/btcec/v2"
	"github.com/btcsuite/btcd/btcec/v2/ecdsa"

	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/memo"
)

// Decode reads an invoice in lower or upper case, without white space and without a "lightning:" scheme. It checks everything that
// can be checked without a clock and without knowing what was agreed: checksum, signature, amount, and that the fields are complete
// and unambiguous. It returns *Error.
func Decode(text string) (*Invoice, error) { return decode(text, true) }

// DecodeKept reads an invoice that Decode accepted before, and that was kept since where nobody else writes. It takes a tenth of the
// time, since it leaves the signature alone, and with it Payee, which is zero unless the invoice names it. It returns *Error.
func DecodeKept(text string) (*Invoice, error) { return decode(text, false) }

func decode(text string, verify bool) (*Invoice, error) {
	prefix, groups, err := splitText(text)
	if err != nil {
		return nil, err
	}
	if len(groups) < timestampGroups+signatureGroups {
		return nil, decodeError(Malformed, "the invoice is too short to hold a signature; it was cut")
	}
	signed, signature := groups[:len(groups)-signatureGroups], groups[len(groups)-signatureGroups:]
	seconds, err := integer(signed[:timestampGroups])
	if err != nil {
		return nil, err
	}
	invoice := &Invoice{
		Timestamp:          time.Unix(int64(seconds), 0).UTC(),
		Expiry:             DefaultExpiry,
		MinFinalCLTVExpiry: DefaultMinFinalCLTVExpiry,
	}
	if invoice.Prefix, invoice.Amount, err = parsePrefix(prefix); err != nil {
		return nil, err
	}
	fields, err := splitFields(signed[timestampGroups:])
	if err != nil {
		return nil, err
	}
	present, err := invoice.readFields(fields)
	if err != nil {
		return nil, err
	}
	if verify {
		if err := invoice.checkSignature(signingDigest(prefix, signed), signature); err != nil {
			return nil, err
		}
	}
	if err := invoice.checkComplete(present); err != nil {
		return nil, err
	}
	return invoice, nil
}

// splitText checks the bech32 envelope of text and returns its human-readable part and its data in 5-bit groups.
func splitText(text string) (string, []byte, error) {
	switch {
	case text == "":
		return "", nil, decodeError(Malformed, "the invoice is empty")
	case len(text) > maxLength:
		return "", nil, decodeError(Malformed, "the invoice has %d characters, more than the %d that fit one", len(text), maxLength)
	case strings.ContainsFunc(text, unicode.IsSpace):
		return "", nil, decodeError(Malformed, "the invoice has white space in or around it; remove it")
	case hasScheme(text, "lightning:"):
		return "", nil, decodeError(Malformed, `the invoice is written as a URI; remove the "lightning:" in front of it`)
	case hasScheme(text, "bitcoin:"):
		return "", nil, decodeError(Malformed, `this is a "bitcoin:" URI; give the value of its "lightning" parameter`)
	}
	// The library's messages give the checksum that would be right, which invites to repair what must be copied again.
	prefix, groups, version, err := bech32.DecodeNoLimitWithVersion(text)
	if _, ok := errors.AsType[bech32.ErrMixedCase](err); ok {
		return "", nil, decodeError(Malformed, "the invoice mixes upper and lower case")
	}
	if _, ok := errors.AsType[bech32.ErrInvalidChecksum](err); ok {
		return "", nil, decodeError(BadChecksum, "the checksum of the invoice does not match: it was altered or cut; copy it again")
	}
	if err != nil {
		return "", nil, decodeError(Malformed, "this is not a BOLT11 invoice: it is not bech32 text")
	}
	if version != bech32.Version0 {
		return "", nil, decodeError(BadChecksum, "the checksum of the invoice is bech32m, where BOLT 11 has bech32")
	}
	return prefix, groups, nil
}

func hasScheme(text, scheme string) bool {
	return len(text) >= len(scheme) && strings.EqualFold(text[:len(scheme)], scheme)
}

// parsePrefix reads the human-readable part: "ln", the currency prefix, and an amount where there is one.
func parsePrefix(text string) (string, *amount.MilliSat, error) {
	currency, ok := strings.CutPrefix(text, "ln")
	if !ok {
		return "", nil, decodeError(Malformed, `this is not a BOLT11 invoice: it does not start with "ln"`)
	}
	digits := strings.IndexAny(currency, "0123456789")
	if digits < 0 {
		digits = len(currency)
	}
	currency, number := currency[:digits], currency[digits:]
	if !slices.Contains(knownPrefixes, currency) {
		return "", nil, decodeError(UnknownNetwork, "the invoice is of an unknown network, %.20q; known are %s",
			"ln"+currency, strings.Join(knownPrefixes, ", "))
	}
	if number == "" {
		return currency, nil, nil
	}
	msat, err := parseAmount(number)
	if err != nil {
		return "", nil, err
	}
	return currency, &msat, nil
}

// The multipliers by their letter, as millisatoshi in one unit. A pico-bitcoin is a tenth of a millisatoshi: it is written with a
// last digit of 0, which is cut before.
var multipliers = map[byte]uint64{'m': 100_000_000, 'u': 100_000, 'n': 100, 'p': 1}

const msatPerBitcoin = 100_000_000_000

// parseAmount reads a number of bitcoin and its multiplier. Its result is 1 to 21 million BTC.
func parseAmount(text string) (amount.MilliSat, error) {
	number, unit := text, uint64(msatPerBitcoin)
	if letter := text[len(text)-1]; letter < '0' || letter > '9' {
		factor, ok := multipliers[letter]
		if !ok {
			return 0, decodeError(BadAmount, "the amount %.40q of the invoice ends in none of m, u, n and p", text)
		}
		number, unit = text[:len(text)-1], factor
		if letter == 'p' {
			if number, ok = strings.CutSuffix(number, "0"); !ok {
				return 0, decodeError(BadAmount, "the amount %.40q of the invoice is not a whole number of millisatoshi", text)
			}
		}
	}
	if strings.TrimLeft(number, "0123456789") != "" {
		return 0, decodeError(BadAmount, "the amount %.40q of the invoice is not a number", text)
	}
	// An empty number is what "0p" leaves.
	if number == "" || number[0] == '0' {
		return 0, decodeError(BadAmount, "the amount %.40q of the invoice is 0 or starts with a 0", text)
	}
	const most = uint64(amount.MaxSat) * 1000
	value, err := strconv.ParseUint(number, 10, 64)
	if err != nil || value > most/unit {
		return 0, decodeError(BadAmount, "the amount %.40q of the invoice is above 21 million BTC", text)
	}
	return amount.MilliSat(value * unit), nil
}

// splitFields cuts the data between timestamp and signature into fields. Their data shares memory with groups.
func splitFields(groups []byte) ([]Field, error) {
	var fields []Field
	for len(groups) > 0 {
		if len(groups) < 3 {
			return nil, decodeError(Malformed, "the fields of the invoice end in the middle of one")
		}
		tag, length := groups[0], int(groups[1])<<5|int(groups[2])
		if groups = groups[3:]; length > len(groups) {
			return nil, decodeError(Malformed, "the field of tag %d in the invoice is longer than the invoice", tag)
		}
		fields = append(fields, Field{Tag: tag, Data: groups[:length:length]})
		groups = groups[length:]
	}
	return fields, nil
}

// readFields fills i from fields and returns how often each tag was there in a form that counts.
func (i *Invoice) readFields(fields []Field) (map[byte]int, error) {
	present := map[byte]int{}
	for _, field := range fields {
		known, err := i.readField(field)
		if err != nil {
			return nil, err
		}
		if !known {
			i.Unknown = append(i.Unknown, Field{Tag: field.Tag, Data: slices.Clone(field.Data)})
			continue
		}
		present[field.Tag]++
	}
	return present, nil
}

// readField reads one field, or returns false for one that BOLT 11 tells a reader to skip.
func (i *Invoice) readField(field Field) (bool, error) {
	switch tag, data := field.Tag, field.Data; tag {
	case tagPaymentHash:
		return readFixed(i.PaymentHash[:], field, hashGroups)
	case tagPaymentSecret:
		return readFixed(i.PaymentSecret[:], field, hashGroups)
	case tagDescriptionHash:
		var hash [32]byte
		known, err := readFixed(hash[:], field, hashGroups)
		if known {
			i.DescriptionHash = &hash
		}
		return known, err
	case tagPayee:
		known, err := readFixed(i.Payee[:], field, payeeGroups)
		i.PayeeNamed = i.PayeeNamed || known
		return known, err
	case tagDescription:
		text, err := octets(field)
		if err == nil && !utf8.Valid(text) {
			err = decodeError(Malformed, "the description of the invoice is not UTF-8 text")
		}
		i.Description = string(text)
		return true, err
	case tagExpiry:
		seconds, err := integer(data)
		i.Expiry = time.Duration(min(seconds, maxExpirySeconds)) * time.Second
		return true, err
	case tagMinFinalCLTV:
		blocks, err := integer(data)
		i.MinFinalCLTVExpiry = blocks
		return true, err
	case tagFeatures:
		i.Features = parseFeatures(data)
		return true, nil
	case tagRouteHint:
		hops, err := parseHops(field)
		i.RouteHints = append(i.RouteHints, hops)
		return true, err
	case tagFallback:
		return i.readFallback(field)
	case tagMetadata:
		metadata, err := octets(field)
		i.Metadata = metadata
		return true, err
	case tagAssetAmount:
		value, err := integer(data)
		if err != nil || value == 0 || value > math.MaxInt64 {
			return false, decodeError(BadAsset, "the asset amount of the invoice is not between 1 and 2^63-1")
		}
		i.asset().Amount = value
		return true, nil
	case tagAssetID:
		id, err := octets(field)
		if err != nil || len(id) == 0 || slices.ContainsFunc(id, func(c byte) bool { return c <= ' ' || c > '~' }) {
			return false, decodeError(BadAsset, "the asset id of the invoice is not printable text")
		}
		i.asset().ID = string(id)
		return true, nil
	}
	return false, nil
}

func (i *Invoice) asset() *Asset {
	if i.Asset == nil {
		i.Asset = &Asset{}
	}
	return i.Asset
}

// readFallback reads an on-chain address, or returns false for one of a version that is not defined.
func (i *Invoice) readFallback(field Field) (bool, error) {
	if len(field.Data) == 0 {
		return false, decodeError(Malformed, "the fallback address of the invoice is empty")
	}
	version := field.Data[0]
	if version > 18 {
		return false, nil
	}
	program, err := octets(Field{Tag: tagFallback, Data: field.Data[1:]})
	if err != nil {
		return false, err
	}
	length := len(program)
	switch {
	case version >= 17 && length != 20, // P2PKH, P2SH
		version == 0 && length != 20 && length != 32,
		length < 2 || length > 40: // BIP 141
		return false, decodeError(Malformed, "the fallback address of the invoice has version %d and %d bytes, which go with no address",
			version, length)
	}
	i.Fallbacks = append(i.Fallbacks, Fallback{Version: version, Program: program})
	return true, nil
}

func parseHops(field Field) ([]Hop, error) {
	data, err := octets(field)
	if err != nil {
		return nil, err
	}
	if len(data) == 0 || len(data)%hopBytes != 0 {
		return nil, decodeError(Malformed, "a route hint of the invoice has %d bytes, which is no number of whole hops", len(data))
	}
	hops := make([]Hop, 0, len(data)/hopBytes)
	for entry := range slices.Chunk(data, hopBytes) {
		if _, err := btcec.ParsePubKey(entry[:33]); err != nil {
			return nil, decodeError(Malformed, "a route hint of the invoice names a node that is no public key")
		}
		hops = append(hops, Hop{
			NodeID:                    [33]byte(entry[:33]),
			ShortChannelID:            binary.BigEndian.Uint64(entry[33:]),
			FeeBaseMsat:               binary.BigEndian.Uint32(entry[41:]),
			FeeProportionalMillionths: binary.BigEndian.Uint32(entry[45:]),
			CLTVExpiryDelta:           binary.BigEndian.Uint16(entry[49:]),
		})
	}
	return hops, nil
}

func parseFeatures(groups []byte) Features {
	var features Features
	for bit := range len(groups) * 5 {
		if groups[len(groups)-1-bit/5]>>(bit%5)&1 == 1 {
			features = append(features, uint16(bit))
		}
	}
	return features
}

// readFixed reads a field of exactly size groups into target, or returns false for one of another size, which is to be skipped.
func readFixed(target []byte, field Field, size int) (bool, error) {
	if len(field.Data) != size {
		return false, nil
	}
	data, err := octets(field)
	if err != nil {
		return false, err
	}
	copy(target, data)
	return true, nil
}

// octets regroups the data of field into bytes. The bits that are left over must be fewer than a group, and zero.
func octets(field Field) ([]byte, error) {
	data, err := bech32.ConvertBits(field.Data, 5, 8, false)
	if err != nil {
		return nil, decodeError(Malformed, "the field of tag %d in the invoice is not a whole number of bytes, padded with zeros", field.Tag)
	}
	return data, nil
}

// integer reads groups as a big-endian integer of 64 bits at most; leading zeros are allowed.
func integer(groups []byte) (uint64, error) {
	var value uint64
	for _, group := range groups {
		if value > math.MaxUint64>>5 {
			return 0, decodeError(Malformed, "a number in the invoice has more than 64 bits")
		}
		value = value<<5 | uint64(group)
	}
	return value, nil
}

// signingDigest returns the hash that the payee signs: of the human-readable part and the data, padded with zeros to whole bytes.
func signingDigest(prefix string, groups []byte) [32]byte {
	// Cannot fail: the groups have 5 bits each and padding is allowed.
	data, _ := bech32.ConvertBits(groups, 5, 8, true)
	return sha256.Sum256(append([]byte(prefix), data...))
}

// compressedKey is added to a recovery id in the header of btcec's compact signatures, for a compressed key.
const compressedKey = 27 + 4

// signatureCheck is a signature that was verified, or that a payee was recovered from, with all that decides on it.
type signatureCheck struct {
	digest    [32]byte
	signature [65]byte
	named     bool
	payee     [33]byte // zero where none is named
}

// verified keeps the payees of signatures that are good. Each look at a payment or an invoice decodes it, and verifying takes as long as all
// else that such a look does.
var verified = memo.New[signatureCheck, [33]byte](4096)

// checkSignature verifies the signature against the payee that the invoice names, or recovers the payee from it.
func (i *Invoice) checkSignature(digest [32]byte, groups []byte) error {
	// Cannot fail: 104 groups are 65 bytes.
	signature, _ := bech32.ConvertBits(groups, 5, 8, false)
	what := signatureCheck{digest: digest, signature: [65]byte(signature), named: i.PayeeNamed, payee: i.Payee}
	if payee, ok := verified.Get(what); ok {
		i.Payee = payee
		return nil
	}
	if err := i.verify(digest, signature); err != nil {
		return err
	}
	verified.Put(what, i.Payee)
	return nil
}

func (i *Invoice) verify(digest [32]byte, signature []byte) error {
	recovery := signature[64]
	if recovery > 3 {
		return decodeError(BadSignature, "the signature of the invoice is malformed")
	}
	if !i.PayeeNamed {
		payee, _, err := ecdsa.RecoverCompact(append([]byte{compressedKey + recovery}, signature[:64]...), digest[:])
		if err != nil {
			return decodeError(BadSignature, "the signature of the invoice belongs to no key; copy the invoice again")
		}
		i.Payee = [33]byte(payee.SerializeCompressed())
		return nil
	}
	payee, err := btcec.ParsePubKey(i.Payee[:])
	if err != nil {
		return decodeError(BadSignature, "the invoice names a payee that is no public key")
	}
	var r, s btcec.ModNScalar
	overflow := r.SetByteSlice(signature[:32]) || s.SetByteSlice(signature[32:64])
	// BOLT 11 allows the high S, which anybody can make of the low one, only where the key is recovered: it names another key.
	if overflow || s.IsOverHalfOrder() || !ecdsa.NewSignature(&r, &s).Verify(digest[:], payee) {
		return decodeError(BadSignature, "the signature of the invoice is not that of the payee it names; ask for a new invoice")
	}
	return nil
}

// checkComplete refuses what was not signed with care: fields that are missing, there twice, or that only another payer understands.
func (i *Invoice) checkComplete(present map[byte]int) error {
	for _, field := range singleFields {
		if present[field.tag] > 1 {
			return decodeError(AmbiguousField, "the invoice has %d fields of tag %d (%s), where one is allowed", present[field.tag],
				field.tag, field.name)
		}
	}
	switch {
	case present[tagPaymentHash] == 0:
		return decodeError(MissingField, "the invoice has no payment hash")
	case present[tagPaymentSecret] == 0:
		return decodeError(MissingField, "the invoice has no payment secret; ask for one from a node of today")
	case present[tagDescription] == 0 && present[tagDescriptionHash] == 0:
		return decodeError(MissingField, "the invoice has neither a description nor the hash of one")
	case present[tagDescription] > 0 && present[tagDescriptionHash] > 0:
		return decodeError(AmbiguousField, "the invoice has both a description and the hash of one")
	case i.Asset != nil && i.Asset.ID == "":
		return decodeError(BadAsset, "the invoice asks for %d units of an asset that it does not name", i.Asset.Amount)
	case i.Asset != nil && i.Asset.Amount == 0:
		return decodeError(BadAsset, "the invoice names the asset %.80q but no amount of it", i.Asset.ID)
	}
	for _, bit := range i.Features {
		if bit%2 == 0 && !understoodFeatures.Has(bit) {
			return decodeError(UnsupportedFeature, "the invoice requires feature %d, which is not supported", bit)
		}
	}
	return nil
}

// singleFields are the fields that BOLT 11 allows once, in the order in which Encode writes them.
var singleFields = []struct {
	tag  byte
	name string
}{
	{tagPaymentHash, "payment hash"},
	{tagPaymentSecret, "payment secret"},
	{tagDescription, "description"},
	{tagDescriptionHash, "description hash"},
	{tagPayee, "payee"},
	{tagExpiry, "expiry"},
	{tagMinFinalCLTV, "final time lock"},
	{tagMetadata, "metadata"},
	{tagAssetID, "asset id"},
	{tagAssetAmount, "asset amount"},
	{tagFeatures, "features"},
}
