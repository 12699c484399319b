package simulation

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/sandbox"
	"github.com/utexo/utexo-operator/internal/settlement"
	"github.com/utexo/utexo-operator/internal/testkit"
)

// settleCall is the operation that moves a wallet's balance into channels, as the transport names it.
const settleCall = "settle"

// settleFaults are what can happen to a settle call.
var settleFaults = []sandbox.FaultKind{
	sandbox.FaultRefuseConnection, sandbox.FaultDropRequest, sandbox.FaultDropAnswer, sandbox.FaultDropAnswer, sandbox.FaultDelay,
	sandbox.FaultSlowAnswer, sandbox.FaultLandLate, sandbox.FaultErrorBefore, sandbox.FaultErrorAfter, sandbox.FaultTruncate, sandbox.FaultGarble,
	sandbox.FaultNull, sandbox.FaultRefuse, sandbox.FaultThrottle, sandbox.FaultHTMLAfter, sandbox.FaultRedirect, sandbox.FaultRestartAfter,
}

// planSettlements has people declare one or two Settlements between the payments of the same wallets, half of them with something to settle,
// and lets their calls go wrong more often than chance would.
func (s *sim) planSettlements(wallets int) {
	for i := range 1 + s.extra.IntN(2) {
		sats := int64(0)
		if s.extra.IntN(2) == 0 {
			sats = 500_000
		}
		s.planSettlement(fmt.Sprintf("settlement-%d", i), fmt.Sprintf("wallet-%d", s.extra.IntN(wallets)), sats)
	}
	for range s.extra.IntN(3) {
		f := sandbox.Fault{
			Kind: settleFaults[s.extra.IntN(len(settleFaults))], Operation: sandbox.Settle, Nth: 1,
			Delay: sandbox.Duration(late[s.extra.IntN(len(late))]),
		}
		switch f.Kind {
		case sandbox.FaultRefuse:
			f.Status, f.Name = 403, "LockedNode"
			if s.extra.IntN(2) == 0 {
				f.Operation, f.Status, f.Name = sandbox.NodeOpenChannel, 400, "InvalidPeerInfo"
			}
		case sandbox.FaultThrottle:
			f.RetryAfter = 1 + s.extra.IntN(60)
		}
		if _, err := s.service.AddFault(f); err != nil {
			panic(err)
		}
	}
}

func (s *sim) planSettlement(name, wallet string, depositSats int64) {
	made := testkit.MakeSettlement(team, name)
	made.Spec.WalletRef.Name = wallet
	o := &object{key: keyOf(made), wallet: wallet, made: made, depositSats: depositSats}
	s.addObject(o)
	s.toMake = slices.Insert(s.toMake, s.extra.IntN(len(s.toMake)+1), o)
}

// deposit lets somebody ask for the address of the wallet of o, and pay to it: what there is to settle.
func (s *sim) deposit(o *object) {
	wallet, there := s.api.current(objectKey{"Wallet", team, o.wallet}).(*v1alpha1.Wallet)
	if o.depositSats == 0 || !there {
		return
	}
	s.spawn(&task{name: "a customer of " + o.wallet, until: s.clock.Now()}, func() {
		request, err := http.NewRequest(http.MethodGet, wallet.Spec.Endpoint.URL+"/lightning/onchain-receive", http.NoBody)
		if err != nil {
			panic(err)
		}
		request.Header.Set("xpub-van", wallet.Status.XpubVanilla)
		request.Header.Set("xpub-col", wallet.Status.XpubColored)
		request.Header.Set("master-fingerprint", wallet.Status.MasterFingerprint)
		answer, err := s.server.RoundTrip(request)
		if err != nil {
			panic(err)
		}
		var receive struct {
			Address string `json:"btc_address"`
		}
		if err := json.NewDecoder(answer.Body).Decode(&receive); err != nil || receive.Address == "" {
			return // the status of the wallet was lost, and with it who it is
		}
		_, err = s.service.FundAddress(receive.Address, amount.Sat(o.depositSats), true)
		s.note("somebody pays %d sat to %s%s", o.depositSats, o.wallet, errorText(err))
	})
}

// recordName is the name of the record with which t works. A Settlement that is created again has another one.
func (t *task) recordName() string {
	if t.object.key.kind == "Settlement" {
		return settlement.RecordName(t.uid)
	}
	return t.object.record
}

// sendingSettle judges a settle call: written ahead, in nobody's critical section but its own, and the only one for its resource, unless
// what there was before provably did nothing.
func (s *sim) sendingSettle(c *moneyCall, earlier []*moneyCall) {
	switch ahead := c.task.ahead; {
	case ahead == nil:
		s.fail("I5", "%s settles without a write-ahead", c.task.name)
	case ahead.record != c.record || c.at.After(ahead.notAfter):
		s.fail("I5", "%s settles on the write-ahead %+v", c.task.name, *ahead)
	default:
		s.check("permit", c.at.Sub(ahead.permitted) <= staleAfter, "%s settles %s after it asked for permission", c.task.name, c.at.Sub(ahead.permitted))
	}
	for _, e := range earlier {
		switch {
		case e.notSent || e.clean && e.status != 200:
		case e.record == c.record:
			s.fail("settle", "%s settles again, after %s", c.task.name, e)
		case e.unclear() && c.at.Before(e.at.Add(quarantine)):
			s.fail("I7", "%s settles %s after the unclear %s of %s", c.task.name, c.at.Sub(e.at), e.operation, e.task.name)
		}
	}
}

// settled is what a settle call that was answered did.
type settled struct {
	Error   string
	Results []struct{ Error *string }
}

// outcome is what the answer to a settle call means.
func (c *moneyCall) outcome() v1alpha1.RecordPhase {
	var read settled
	if c.unclear() {
		return v1alpha1.RecordUnknown
	}
	if c.notSent || c.status != 200 || json.Unmarshal(c.body, &read) != nil || read.Error != "" {
		return v1alpha1.RecordFailed
	}
	for _, result := range read.Results {
		if result.Error != nil {
			return v1alpha1.RecordFailed
		}
	}
	return v1alpha1.RecordSucceeded
}

// judgeSettlements checks that each Settlement tells what became of its call: what was answered, or that nobody knows.
func (s *sim) judgeSettlements() {
	last := map[string]*moneyCall{}
	for _, calls := range s.judge.calls {
		for _, c := range calls {
			if c.operation == settleCall && (last[c.record] == nil || last[c.record].at.Before(c.at)) {
				last[c.record] = c
			}
		}
	}
	for _, key := range s.api.keys {
		if record := s.recordOf(key.name); key.kind == "PaymentRecord" && record != nil && record.Spec.Kind == v1alpha1.RecordSettlement {
			s.judgeSettlementRecord(record, last[key.name])
		}
	}
	for _, o := range s.objects {
		found, there := s.api.current(o.key).(*v1alpha1.Settlement)
		if !there {
			continue
		}
		record := s.recordOf(settlement.RecordName(string(found.UID)))
		s.note("%s: %s %s", o.key, found.Status.Phase, readyMessage(found))
		told := map[v1alpha1.SettlementPhase]v1alpha1.RecordPhase{
			v1alpha1.SettlementSucceeded: v1alpha1.RecordSucceeded, v1alpha1.SettlementFailed: v1alpha1.RecordFailed,
			v1alpha1.SettlementUnknown: v1alpha1.RecordUnknown,
		}[found.Status.Phase]
		switch {
		case told == "":
			s.fail("I13", "%s came to rest as %s: %s", o.key, found.Status.Phase, readyMessage(found))
		case record == nil:
			s.check("settle", s.judge.loss != nil, "%s is %s, and has no record", o.key, found.Status.Phase)
		default:
			s.check("settle", record.Journal.Phase == told, "%s is %s, and its record %s", o.key, found.Status.Phase, record.Journal.Phase)
		}
	}
}

func (s *sim) judgeSettlementRecord(record *v1alpha1.PaymentRecord, call *moneyCall) {
	phase := record.Journal.Phase
	if call == nil {
		s.check("settle", phase == v1alpha1.RecordClaimed || phase == v1alpha1.RecordSubmitting || phase == v1alpha1.RecordFailed || phase == v1alpha1.RecordUnknown && s.judge.doubts[record.Name] != "",
			"the Settlement %s is %s, and the service was never asked", record.Name, phase)
		return
	}
	outcome := call.outcome()
	switch {
	case phase == v1alpha1.RecordClaimed || phase == v1alpha1.RecordSubmitting: // it was deleted meanwhile, or judgeSettlements says that it rests
	case phase == v1alpha1.RecordUnknown:
		s.check("settle", outcome == phase || s.judge.doubts[record.Name] != "", "the Settlement %s is Unknown, and the answer was %s", record.Name, outcome)
	default:
		s.check("settle", outcome == phase, "the Settlement %s is %s, and the answer says %s", record.Name, phase, outcome)
	}
	if phase == v1alpha1.RecordClaimed {
		s.check("settle", outcome != v1alpha1.RecordSucceeded, "the Settlement %s is to be asked for again, and was made", record.Name)
	}
}
