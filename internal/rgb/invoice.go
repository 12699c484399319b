package rgb

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/utexo/utexo-operator/internal/bitcoin"
)

// Net is a chain by the word that an invoice has for it.
type Net string

// The chains of Bitcoin.
const (
	Mainnet      Net = "bc"
	Testnet3     Net = "tb3"
	Testnet4     Net = "tb4"
	Signet       Net = "sb"
	CustomSignet Net = "sbc"
	Regtest      Net = "bcrt"
)

// Network returns the wallet network that n belongs to: testnet for both test nets, signet for a custom signet too, which the word
// does not tell from another one. It returns false for a chain that is not Bitcoin's.
func (n Net) Network() (bitcoin.Network, bool) {
	switch n {
	case Mainnet:
		return bitcoin.Mainnet, true
	case Testnet3, Testnet4:
		return bitcoin.Testnet, true
	case Signet, CustomSignet:
		return bitcoin.Signet, true
	case Regtest:
		return bitcoin.Regtest, true
	}
	return "", false
}

// NetOf returns the word for a wallet's network; Testnet3 for testnet, which is the first of two. It returns "" for an unknown one.
func NetOf(network bitcoin.Network) Net {
	for _, net := range []Net{Mainnet, Testnet3, Signet, Regtest} {
		if known, _ := net.Network(); known == network {
			return net
		}
	}
	return ""
}

// Invoice is a request to be sent an RGB asset.
type Invoice struct {
	// Contract is the asset that is asked for; nil leaves it to the payer.
	Contract *ContractID
	// Schema is the schema that the contract must follow; nil leaves it open.
	Schema *SchemaID
	// Amount is what is asked for, in the asset's smallest unit; nil leaves it to the payer.
	Amount *uint64
	// Network is the chain that the contract lives on.
	Network Net
	// Beneficiary is who gets the asset.
	Beneficiary Beneficiary
	// AssignmentName is the kind of state that is assigned; empty is the contract's default.
	AssignmentName string
	// Expiry is from when on the invoice may no longer be paid, UTC, in whole seconds up to the year 9999; nil is never.
	Expiry *time.Time
	// Endpoints are URLs (rpc, rpcs, http, https, ws, wss, storm) over which the payee takes the consignment. Foreign text.
	Endpoints []string
	// Params are the query parameters that this package does not know, in their order. Foreign text.
	Params []Param
}

// Param is a query parameter of an invoice, decoded.
type Param struct{ Name, Value string }

const (
	omitted        = "~"
	assignmentName = "assignment_name"
	expiryName     = "expiry"
	endpointsName  = "endpoints"
)

// maxLength is well above any invoice that a wallet writes.
const maxLength = 8192

// ParseInvoice reads an invoice: rgb:CONTRACT/SCHEMA/STATE/NET:BENEFICIARY[?name=value&…]. Ids may stand with or without hyphens, the
// two spellings that the reference implementation (rgb-invoicing) writes; all else must be as that writes it. It also reads further
// path segments, a fragment, and a parameter given twice: these are refused here. ParseInvoice returns *Error.
func ParseInvoice(text string) (*Invoice, error) {
	if len(text) > maxLength {
		return nil, refuse(Malformed, "the invoice has %d characters, more than %d", len(text), maxLength)
	}
	rest, ok := strings.CutPrefix(text, contractPrefix)
	if !ok {
		return nil, refuse(Malformed, "this is not an RGB invoice: %s does not start with %q", quote(text), contractPrefix)
	}
	path, query, hasQuery := strings.Cut(rest, "?")
	segments := strings.Split(path, "/")
	if len(segments) != 4 {
		return nil, refuse(Malformed, "this is not an RGB invoice: it has %d parts, where contract, schema, state and beneficiary are 4",
			len(segments))
	}
	invoice := &Invoice{}
	if err := invoice.readPath([4]string(segments)); err != nil {
		return nil, err
	}
	if hasQuery {
		if err := invoice.readQuery(query); err != nil {
			return nil, err
		}
	}
	return invoice, nil
}

func (i *Invoice) readPath(segments [4]string) error {
	if contract := segments[0]; contract != omitted {
		// Written without hyphens it is the same id.
		if !strings.Contains(contract, "-") {
			contract = chunk(contract)
		}
		id, err := parseContract(contract)
		if err != nil {
			return err
		}
		i.Contract = &id
	}
	if schema := segments[1]; schema != omitted {
		id, err := parseSchema(schema)
		if err != nil {
			return err
		}
		i.Schema = &id
	}
	switch state := segments[2]; {
	case state == omitted:
	case state == "" || strings.Contains(state, "@"):
		return refuse(Unsupported, "the invoice asks for the state %s, not for an amount; only fungible assets can be sent", quote(state))
	default:
		amount, err := ParseAmount(state)
		if err != nil {
			return err
		}
		i.Amount = &amount
	}
	net, beneficiary, ok := strings.Cut(segments[3], ":")
	i.Network = Net(net)
	if _, known := i.Network.Network(); !known || !ok {
		return refuse(UnknownNetwork, "the invoice is of the unknown network %s; known are bc, tb3, tb4, sb, sbc and bcrt", quote(net))
	}
	var err error
	i.Beneficiary, err = parseBeneficiary(beneficiary)
	return err
}

func (i *Invoice) readQuery(query string) error {
	var seen []string
	for pair := range strings.SplitSeq(query, "&") {
		encodedName, encodedValue, ok := strings.Cut(pair, "=")
		name, nameOK := unescape(encodedName)
		value, valueOK := unescape(encodedValue)
		if !ok || !nameOK || !valueOK {
			// Not quoted: a URL among them may hold a password.
			return refuse(Malformed, "a parameter of the invoice is not name=value, percent-encoded")
		}
		if slices.Contains(seen, name) {
			return refuse(Malformed, "the parameter %s is in the invoice twice", quote(name))
		}
		seen = append(seen, name)
		if err := i.readParam(name, value); err != nil {
			return err
		}
	}
	return nil
}

func (i *Invoice) readParam(name, value string) error {
	switch name {
	case assignmentName:
		if !isFieldName(value) {
			return refuse(Malformed, "the assignment name %s of the invoice is not an identifier", quote(value))
		}
		i.AssignmentName = value
	case expiryName:
		seconds, err := strconv.ParseInt(value, 10, 64)
		if err != nil || seconds < 0 || seconds > lastSecond || strconv.FormatInt(seconds, 10) != value {
			return refuse(Malformed, "the expiry %s of the invoice is not a number of seconds since 1970", quote(value))
		}
		expiry := time.Unix(seconds, 0).UTC()
		i.Expiry = &expiry
	case endpointsName:
		for endpoint := range strings.SplitSeq(value, ",") {
			if !isEndpoint(endpoint) {
				return refuse(Malformed, "an endpoint of the invoice is not a URL of a kind that takes consignments")
			}
			i.Endpoints = append(i.Endpoints, endpoint)
		}
	default:
		i.Params = append(i.Params, Param{Name: name, Value: value})
	}
	return nil
}

// lastSecond is the end of the year 9999, the last that RFC 3339 can write.
const lastSecond = 253402300799

func isEndpoint(text string) bool {
	scheme, host, _ := strings.Cut(text, "://")
	return host != "" && slices.Contains([]string{"rpc", "rpcs", "http", "https", "ws", "wss", "storm"}, scheme)
}

// isFieldName tells whether text is a field name of strict types: a letter or underscore, then also digits, 100 characters at most.
func isFieldName(text string) bool {
	for n := range len(text) {
		c := text[n]
		if !isLetter(c) && c != '_' && (n == 0 || !isDigit(c)) {
			return false
		}
	}
	return text != "" && len(text) <= 100
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
func isDigit(c byte) bool  { return c >= '0' && c <= '9' }

// isQueryByte tells whether c stands for itself in a query (RFC 3986). "&" and "=" are left out: they separate.
func isQueryByte(c byte) bool {
	return isLetter(c) || isDigit(c) || strings.IndexByte("-._~!$'()*+,;:@/?", c) >= 0
}

// unescape decodes percent-encoding; a plus sign is a plus sign. It returns false for what RFC 3986 does not allow or is not UTF-8.
func unescape(text string) (string, bool) {
	for n := range len(text) {
		// A value may hold "=" as it is: only the first one separates.
		if c := text[n]; c != '%' && c != '=' && !isQueryByte(c) {
			return "", false
		}
	}
	decoded, err := url.PathUnescape(text)
	return decoded, err == nil && utf8.ValidString(decoded)
}

func escape(text string) string {
	var escaped strings.Builder
	for n := range len(text) {
		if c := text[n]; isQueryByte(c) {
			escaped.WriteByte(c)
		} else {
			fmt.Fprintf(&escaped, "%%%02X", c)
		}
	}
	return escaped.String()
}

// isSpelling tells whether text is canonical, with its hyphens or without any.
func isSpelling(text, canonical string) bool {
	return text == canonical || text == strings.ReplaceAll(canonical, "-", "")
}

// String writes the invoice as the reference implementation does, without asking whether it can be read: see FormatInvoice.
func (i *Invoice) String() string {
	contract, schema, state := omitted, omitted, omitted
	if i.Contract != nil {
		contract = i.Contract.encoded()
	}
	if i.Schema != nil {
		schema = i.Schema.String()
	}
	if i.Amount != nil {
		state = FormatAmount(*i.Amount)
	}
	var params []Param
	if i.AssignmentName != "" {
		params = append(params, Param{assignmentName, i.AssignmentName})
	}
	if i.Expiry != nil {
		params = append(params, Param{expiryName, strconv.FormatInt(i.Expiry.Unix(), 10)})
	}
	if len(i.Endpoints) > 0 {
		params = append(params, Param{endpointsName, strings.Join(i.Endpoints, ",")})
	}
	text := fmt.Sprintf("%s%s/%s/%s/%s:%s", contractPrefix, contract, schema, state, i.Network, i.Beneficiary)
	separator := "?"
	for _, param := range append(params, i.Params...) {
		text += separator + escape(param.Name) + "=" + escape(param.Value)
		separator = "&"
	}
	return text
}

// FormatInvoice writes an invoice, or returns the *Error for which ParseInvoice would refuse it. Only tests do.
func FormatInvoice(invoice *Invoice) (string, error) {
	text := invoice.String()
	if _, err := ParseInvoice(text); err != nil {
		return "", err
	}
	return text, nil
}

// Terms are what an invoice must agree with to be paid.
type Terms struct {
	// Network is the wallet's network.
	Network bitcoin.Network
	// AssetID is the declared asset, in its canonical spelling, and Amount the declared amount of it, 1 or more.
	AssetID string
	Amount  int64
	// Now is the time.
	Now time.Time
}

// Check returns nil where the invoice may be paid under terms, else *Refusal. What the invoice leaves to the payer is what terms
// declare.
func (i *Invoice) Check(terms Terms) error {
	if network, ok := i.Network.Network(); !ok || network != terms.Network {
		return refusal(WrongNetwork, "the RGB invoice is of the network %q, the wallet of %s; use an invoice of the wallet's network", i.Network,
			terms.Network)
	}
	if i.Expiry != nil && !terms.Now.Before(*i.Expiry) {
		return refusal(Expired, "the RGB invoice expired at %s; ask for a new one", i.Expiry.Format(time.RFC3339))
	}
	declared, err := ParseAssetID(terms.AssetID)
	if err != nil {
		return refusal(WrongAsset, "the declared asset is not one: %v", err)
	}
	if i.Contract != nil && *i.Contract != declared {
		return refusal(WrongAsset, "the RGB invoice asks for %s, declared is %s; correct the asset id or ask for another invoice", i.Contract,
			declared)
	}
	if terms.Amount < 1 {
		return refusal(AmountMismatch, "the declared amount of the asset is %d; declare 1 or more", terms.Amount)
	}
	if i.Amount != nil && *i.Amount != uint64(terms.Amount) {
		return refusal(AmountMismatch, "the RGB invoice asks for %d units, declared are %d; correct the amount or ask for another invoice", *i.Amount,
			terms.Amount)
	}
	return nil
}

func refusal(reason Reason, format string, args ...any) *Refusal {
	return &Refusal{Reason: reason, Message: fmt.Sprintf(format, args...)}
}
