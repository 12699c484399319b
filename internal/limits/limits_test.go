package limits_test

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/limits"
	"github.com/utexo/utexo-operator/internal/payment"
)

const (
	asset   = "rgb:tpk3SgP4-mRdSCNI-Pu~EDie-eBjfn5P-4HQdIKi-SUtqbe8"
	address = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"
)

var (
	node  = "02" + strings.Repeat("ab", 32)
	other = "03" + strings.Repeat("cd", 32)
	noon  = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
)

func lightning(sats, fee amount.Sat) *payment.Order {
	return &payment.Order{Kind: v1alpha1.RecordLightningPayment, Destination: node, AmountSats: sats, MaxFeeSats: fee}
}

func onchain(sats, fee amount.Sat) *payment.Order {
	return &payment.Order{Kind: v1alpha1.RecordOnchainSend, Destination: address, AmountSats: sats, MaxFeeSats: fee}
}

func of(order *payment.Order, units int64) *payment.Order {
	order.Asset = &v1alpha1.AssetAmount{ID: asset, Amount: units}
	return order
}

func TestCheck(t *testing.T) {
	allow := func(entries ...v1alpha1.AllowedDestination) *v1alpha1.WalletLimits {
		return &v1alpha1.WalletLimits{AllowedDestinations: entries}
	}
	for name, tc := range map[string]struct {
		limits *v1alpha1.WalletLimits
		order  *payment.Order
		// reason is empty where it may be paid; says is part of the message.
		reason, says string
	}{
		"no limits at all":                        {nil, lightning(1_000_000, 3000), "", ""},
		"limits without a limit":                  {&v1alpha1.WalletLimits{}, lightning(1_000_000, 3000), "", ""},
		"as much as one payment may pay":          {&v1alpha1.WalletLimits{MaxPaymentSats: new(int64(1000))}, lightning(1000, 3000), "", ""},
		"one sat more than that":                  {&v1alpha1.WalletLimits{MaxPaymentSats: new(int64(1000))}, lightning(1001, 0), v1alpha1.ReasonLimitExceeded, "pays 1001 sat, above spec.limits.maxPaymentSats 1000"},
		"nothing may be paid":                     {&v1alpha1.WalletLimits{MaxPaymentSats: new(int64(0))}, onchain(330, 0), v1alpha1.ReasonLimitExceeded, "maxPaymentSats 0"},
		"as high a fee as is allowed":             {&v1alpha1.WalletLimits{MaxFeeSats: new(int64(50))}, lightning(1000, 50), "", ""},
		"a higher fee than that":                  {&v1alpha1.WalletLimits{MaxFeeSats: new(int64(50))}, lightning(1000, 51), v1alpha1.ReasonLimitExceeded, "maxFeeSats 51, above spec.limits.maxFeeSats 50"},
		"all of a day's budget":                   {&v1alpha1.WalletLimits{DailySats: new(int64(1050))}, lightning(1000, 50), "", ""},
		"more than a day's budget ever leaves":    {&v1alpha1.WalletLimits{DailySats: new(int64(1049))}, lightning(1000, 50), v1alpha1.ReasonLimitExceeded, "1050 sat with its fee, above spec.limits.dailySats 1049"},
		"a node that is listed":                   {allow(v1alpha1.AllowedDestination{Address: address}, v1alpha1.AllowedDestination{NodePublicKey: node}), lightning(1, 0), "", ""},
		"another node":                            {allow(v1alpha1.AllowedDestination{NodePublicKey: other}), lightning(1, 0), v1alpha1.ReasonDestinationNotAllowed, "bitcoin to node " + node},
		"an address that is listed":               {allow(v1alpha1.AllowedDestination{Address: address}), onchain(330, 0), "", ""},
		"an address in another spelling":          {allow(v1alpha1.AllowedDestination{Address: strings.ToUpper(address)}), onchain(330, 0), "", ""},
		"an address where only a node is listed":  {allow(v1alpha1.AllowedDestination{NodePublicKey: node}), onchain(330, 0), v1alpha1.ReasonDestinationNotAllowed, "bitcoin to address " + address},
		"a node where only an address is listed":  {allow(v1alpha1.AllowedDestination{Address: address}), lightning(1, 0), v1alpha1.ReasonDestinationNotAllowed, ""},
		"bitcoin where only an asset is listed":   {allow(v1alpha1.AllowedDestination{AssetID: asset}), lightning(1, 0), v1alpha1.ReasonDestinationNotAllowed, ""},
		"an asset where only its payee is":        {allow(v1alpha1.AllowedDestination{NodePublicKey: node}), of(lightning(3000, 0), 5), v1alpha1.ReasonDestinationNotAllowed, "5 of asset " + asset},
		"an asset that is listed, over Lightning": {allow(v1alpha1.AllowedDestination{AssetID: asset}), of(lightning(3000, 0), 5), "", ""},
		"an asset that is listed, on-chain":       {allow(v1alpha1.AllowedDestination{AssetID: asset}), of(onchain(0, 0), 5), "", ""},
		"another asset":                           {allow(v1alpha1.AllowedDestination{AssetID: asset + "x"}), of(onchain(0, 0), 5), v1alpha1.ReasonDestinationNotAllowed, "to an RGB invoice"},
		"an asset to a node that both fit":        {allow(v1alpha1.AllowedDestination{AssetID: asset, NodePublicKey: node}), of(lightning(3000, 0), 5), "", ""},
		"an asset to another node":                {allow(v1alpha1.AllowedDestination{AssetID: asset, NodePublicKey: other}), of(lightning(3000, 0), 5), v1alpha1.ReasonDestinationNotAllowed, ""},
		"an asset on-chain where a node is named": {allow(v1alpha1.AllowedDestination{AssetID: asset, NodePublicKey: node}), of(onchain(0, 0), 5), v1alpha1.ReasonDestinationNotAllowed, ""},
		"as much of an asset as is allowed":       {allow(v1alpha1.AllowedDestination{AssetID: asset, MaxAssetAmount: new(int64(5))}), of(onchain(0, 0), 5), "", ""},
		"more of an asset than that":              {allow(v1alpha1.AllowedDestination{AssetID: asset, MaxAssetAmount: new(int64(4))}), of(onchain(0, 0), 5), v1alpha1.ReasonDestinationNotAllowed, ""},
	} {
		t.Run(name, func(t *testing.T) {
			obstacle := limits.Check(tc.limits, tc.order)
			switch {
			case obstacle == nil && tc.reason != "":
				t.Errorf("nothing keeps it from being paid, want %s", tc.reason)
			case obstacle != nil && (obstacle.Reason != tc.reason || obstacle.DeadEnd || !strings.Contains(obstacle.Message, tc.says)):
				t.Errorf("%+v, want %q with %q", obstacle, tc.reason, tc.says)
			}
		})
	}
}

func TestDebitOf(t *testing.T) {
	submitted := metav1.NewMicroTime(noon)
	for name, tc := range map[string]struct {
		kind  v1alpha1.RecordKind
		phase v1alpha1.RecordPhase
		fee   *int64
		never bool
		want  amount.Sat
	}{
		"not submitted yet":               {v1alpha1.RecordLightningPayment, v1alpha1.RecordBegan, nil, true, 0},
		"about to be submitted":           {v1alpha1.RecordLightningPayment, v1alpha1.RecordSubmitting, nil, false, 1050},
		"in flight":                       {v1alpha1.RecordOnchainSend, v1alpha1.RecordSubmitted, nil, false, 1050},
		"of unknown outcome":              {v1alpha1.RecordOnchainSend, v1alpha1.RecordUnknown, nil, false, 1050},
		"made, at a fee that is not told": {v1alpha1.RecordLightningPayment, v1alpha1.RecordSucceeded, nil, false, 1050},
		"made, at a fee":                  {v1alpha1.RecordLightningPayment, v1alpha1.RecordSucceeded, new(int64(7)), false, 1007},
		"made, at a fee above the cap":    {v1alpha1.RecordLightningPayment, v1alpha1.RecordSucceeded, new(int64(50_000)), false, 51_000},
		"made, at all the fee there is":   {v1alpha1.RecordLightningPayment, v1alpha1.RecordSucceeded, new(int64(1 << 62)), false, amount.MaxSat + 1000},
		"made, at a fee that is a lie":    {v1alpha1.RecordLightningPayment, v1alpha1.RecordSucceeded, new(int64(-1_000_000)), false, 1050},
		"in flight, at a fee":             {v1alpha1.RecordLightningPayment, v1alpha1.RecordSubmitted, new(int64(7)), false, 1050},
		"failed":                          {v1alpha1.RecordLightningPayment, v1alpha1.RecordFailed, nil, false, 0},
		"given up":                        {v1alpha1.RecordOnchainSend, v1alpha1.RecordCancelled, nil, false, 0},
		"a settlement":                    {v1alpha1.RecordSettlement, v1alpha1.RecordSubmitting, nil, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			record := &v1alpha1.PaymentRecord{
				Spec:    v1alpha1.PaymentRecordSpec{Kind: tc.kind, AmountSats: new(int64(1000)), MaxFeeSats: 50},
				Journal: v1alpha1.PaymentJournal{Phase: tc.phase, FeeSats: tc.fee, SubmittedAt: &submitted},
			}
			if tc.never {
				record.Journal.SubmittedAt = nil
			}
			debit := limits.DebitOf(record)
			final := tc.phase == v1alpha1.RecordSucceeded
			switch {
			case debit != nil && debit.Final != final:
				t.Errorf("final %t, want %t", debit.Final, final)
			case debit == nil && tc.want != 0, debit != nil && (debit.Sats != tc.want || !debit.At.Equal(noon)):
				t.Errorf("%+v, want %d sat", debit, tc.want)
			}
		})
	}
}

// TestDebitOfWhatWasSigned has a service name a lower fee than what it had signed: what left the wallet is in the transaction.
func TestDebitOfWhatWasSigned(t *testing.T) {
	submitted := metav1.NewMicroTime(noon)
	for name, tc := range map[string]struct {
		fee, outflow int64
		want         amount.Sat
	}{
		"it names all of it":            {50, 1050, 1050},
		"it names less than was signed": {0, 1050, 1050},
		"it names more than was signed": {50, 1010, 1050},
		"the amount alone was signed":   {0, 1000, 1000},
		"no outflow was recorded":       {7, 0, 1007},
	} {
		t.Run(name, func(t *testing.T) {
			record := &v1alpha1.PaymentRecord{
				Spec: v1alpha1.PaymentRecordSpec{Kind: v1alpha1.RecordOnchainSend, AmountSats: new(int64(1000)), MaxFeeSats: 50},
				Journal: v1alpha1.PaymentJournal{
					Phase: v1alpha1.RecordSucceeded, FeeSats: &tc.fee, SubmittedAt: &submitted, Plan: &v1alpha1.OnchainPlan{OutflowSats: tc.outflow},
				},
			}
			if debit := limits.DebitOf(record); debit == nil || debit.Sats != tc.want {
				t.Errorf("%+v, want %d sat", debit, tc.want)
			}
		})
	}
}

// TestDebitOfARepetition counts a send that was submitted again, after days for which it was suspended, from when that call could be made: it
// may be the one that sent.
func TestDebitOfARepetition(t *testing.T) {
	first, again := metav1.NewMicroTime(noon.Add(-72*time.Hour)), metav1.NewMicroTime(noon.Add(-time.Hour))
	record := &v1alpha1.PaymentRecord{
		Spec: v1alpha1.PaymentRecordSpec{Kind: v1alpha1.RecordOnchainSend, AmountSats: new(int64(1000)), MaxFeeSats: 50},
		Journal: v1alpha1.PaymentJournal{
			Phase: v1alpha1.RecordSubmitted, SubmittedAt: &first, NotAfter: &again, EndCalls: 2,
		},
	}
	debit := limits.DebitOf(record)
	if debit == nil || !debit.At.Equal(again.Time) {
		t.Fatalf("%+v, want it to count from the second call", debit)
	}
	if left := limits.StandingOf(1500, []limits.Debit{*debit}, noon).RemainingSats; left != 450 {
		t.Errorf("%d sat are left, want 450", left)
	}
}

func TestStanding(t *testing.T) {
	debits := []limits.Debit{ // in no order
		{Sats: 300, At: noon.Add(-time.Hour)},
		{Sats: 1000, At: noon.Add(-limits.Window)}, // counts no more
		{Sats: 200, At: noon.Add(-limits.Window + time.Minute)},
		{Sats: 100, At: noon.Add(time.Hour)}, // the clock was set back
	}
	standing := limits.StandingOf(1000, debits, noon)
	if standing.SpentSats != 600 || standing.RemainingSats != 400 {
		t.Fatalf("%d sat are spent and %d remain, want 600 and 400", standing.SpentSats, standing.RemainingSats)
	}
	if over := limits.StandingOf(500, debits, noon); over.RemainingSats != 0 {
		t.Errorf("%d sat remain of a budget that is spent", over.RemainingSats)
	}
	for name, tc := range map[string]struct {
		need       amount.Sat
		says       string
		retryAfter time.Duration
	}{
		"what remains":                        {400, "", 0},
		"one sat more, in a minute":           {401, "until 2026-11-22T12:01:00Z", time.Minute},
		"what the oldest leaves":              {600, "until 2026-11-22T12:01:00Z", time.Minute},
		"what the second oldest leaves":       {601, "until 2026-11-23T11:00:00Z", 5 * time.Minute},
		"all of it":                           {1000, "until 2026-11-23T13:00:00Z", 5 * time.Minute},
		"more than there is when all is left": {1001, "until more is allowed", 0},
	} {
		t.Run(name, func(t *testing.T) {
			obstacle := standing.Block(tc.need, noon)
			switch {
			case obstacle == nil && tc.says != "":
				t.Errorf("nothing keeps %d sat from being spent", tc.need)
			case obstacle != nil && (obstacle.Reason != v1alpha1.ReasonBudgetExceeded || !strings.Contains(obstacle.Message, tc.says) || tc.says == "" ||
				obstacle.RetryAfter != tc.retryAfter):
				t.Errorf("%+v, want %q and %s", obstacle, tc.says, tc.retryAfter)
			}
		})
	}
}

// TestRecheck looks often only where something is under way that may take less than it might have.
func TestRecheck(t *testing.T) {
	made := limits.Debit{Sats: 900, At: noon.Add(-time.Hour), Final: true}
	soon := limits.Debit{Sats: 900, At: noon.Add(-limits.Window + time.Minute), Final: true}
	old := limits.Debit{Sats: 900, At: noon.Add(-limits.Window)}
	for name, tc := range map[string]struct {
		debits []limits.Debit
		want   time.Duration
	}{
		"all that was spent is final":                 {[]limits.Debit{made}, time.Hour},
		"something is under way":                      {[]limits.Debit{made, {Sats: 1, At: noon}}, 5 * time.Minute},
		"what is under way counts no more":            {[]limits.Debit{made, old}, time.Hour},
		"it counts no more before the next look":      {[]limits.Debit{soon}, time.Minute},
		"the same, while something else is under way": {[]limits.Debit{soon, {Sats: 1, At: noon}}, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			if obstacle := limits.StandingOf(1000, tc.debits, noon).Block(500, noon); obstacle == nil || obstacle.RetryAfter != tc.want {
				t.Errorf("%+v, want another look after %s", obstacle, tc.want)
			}
		})
	}
}
