package simulation

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/btcsuite/btcd/btcutil/v2/hdkeychain"
	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/utexo/utexo-operator/api/v1alpha1"
	"github.com/utexo/utexo-operator/internal/amount"
	"github.com/utexo/utexo-operator/internal/bitcoin"
	"github.com/utexo/utexo-operator/internal/bolt11"
	"github.com/utexo/utexo-operator/internal/controller"
	"github.com/utexo/utexo-operator/internal/payment"
	"github.com/utexo/utexo-operator/internal/sandbox"
	"github.com/utexo/utexo-operator/internal/testkit"
)

// Names of the simulated cluster.
const (
	team     = "team"
	operator = "utexo-system"
	token    = "canary-token-7d1f"
)

// sim is one run.
type sim struct {
	seed     uint64
	mutation mutation
	random   *rand.Rand
	// extra is what is drawn for what only some seeds have: the others stay as they are.
	extra    *rand.Rand
	clock    *virtualClock
	api      *apiServer
	service  *sandbox.Server
	server   http.RoundTripper
	options  controller.Options
	logger   logr.Logger
	replicas []*replica
	// splitBrain lets all replicas lead at once; otherwise leader is the one that does.
	splitBrain bool
	// shards tells who works on what; nil where everybody works on all.
	shards *shards
	// dailySats is what each wallet may spend in 24 hours; 0 for all it has.
	dailySats int64
	consents  consents
	profile   v1alpha1.ServerProfile
	leader    *replica
	objects   []*object
	orders    []*order

	tasks   []*task
	current *task
	choices []choice

	// chaotic is the time of faults; budget is how many are left. faults are those that wait for their call.
	chaotic bool
	budget  int
	toMake  []*object
	faults  []*kubeFault
	// byHand tells that people sign the payments of the wallets, given what they gave.
	byHand bool
	given  []*signature
	// losesAfter is after how many writes of records of on-chain sends some of those records are lost; 0 for never.
	losesAfter int
	// script is the faults of a run in which nothing is left to chance; nil for others.
	script *script

	tracing  bool
	trace    []string
	canaries []string
	failures []failure

	judge judge
}

// failure is a broken invariant.
type failure struct{ oracle, text string }

// object is a resource that a person declares.
type object struct {
	index  int
	key    objectKey
	wallet string
	// record is the name of its record, order what it orders; none of a wallet's.
	record string
	order  *order
	made   client.Object
	// offer is the LightningInvoice that a payment refers to; nil for one that holds its invoice.
	offer *object
	// refused tells that nobody approves it, askedAgain when people are asked for the next approval.
	refused    bool
	askedAgain time.Time
	// signAt is when somebody signs what the object asks for, signing the attempt.
	signAt  time.Time
	signing int32
	// payAt is when the payer of an invoice pays it, zero for not; payAfter how long after it was readable, negative for never.
	payAt    time.Time
	payAfter time.Duration
	// payer is of an invoice that renews; nil for others.
	payer *payer
	// depositSats come in at the wallet's address when the object is declared.
	depositSats int64
}

// rests reports whether there is an end to what is done for the object: wallets are looked at for ever.
func (o *object) rests() bool { return o.key.kind != "Wallet" }

// order is something to be paid at most once.
type order struct {
	// key is the ledger's: a payment hash or sandbox.OrderKey. It is empty for what was not resolved yet.
	key         string
	kind        v1alpha1.RecordKind
	sats        int64
	destination string
	startBefore time.Time
	objects     []*object
	// recordLost tells that the record of its payment was deleted, again that an on-chain send was then made anew, since nothing told of it.
	recordLost, again bool
}

// accountKeys are the extended private keys of two wallets: what a Secret holds, and a canary. Signing with a mnemonic would spend most of
// a run on stretching it.
type accountKeys struct{ vanilla, colored string }

var walletKeys = func() (made []accountKeys) {
	params, err := bitcoin.Regtest.Params()
	if err != nil {
		panic(err)
	}
	for i := range 2 {
		seed := [32]byte{byte(i + 1)}
		master, err := hdkeychain.NewMaster(seed[:], params)
		if err != nil {
			panic(err)
		}
		derive := func(coin uint32) string {
			key := master
			for _, step := range []uint32{86, coin, 0} {
				if key, err = key.Derive(hdkeychain.HardenedKeyStart + step); err != nil {
					panic(err)
				}
			}
			return key.String()
		}
		made = append(made, accountKeys{derive(bitcoin.Regtest.CoinType()), derive(bitcoin.Regtest.ColoredCoinType())})
	}
	return made
}()

var begin = time.Date(2026, time.January, 1, 0, 0, 0, 0, time.UTC)

// newWorld makes a cluster with nothing in it.
func newWorld(seed uint64, broken mutation, tracing bool) *sim {
	s := &sim{seed: seed, mutation: broken, tracing: tracing, random: rand.New(rand.NewPCG(seed, 0x7574657865)), extra: rand.New(rand.NewPCG(seed, 0x6578747261))}
	s.clock = &virtualClock{clocktesting.NewFakeClock(begin), s}
	s.api = newAPIServer(s.clock)
	s.api.written = s.wrote
	s.logger = logr.New(&logSink{s})
	s.judge = newJudge()
	s.canaries = []string{token}
	return s
}

// serve starts the service, and says what the wallets take it for.
func (s *sim) serve(kind sandbox.Profile, profile v1alpha1.ServerProfile, listed bool, timing sandbox.Timing) {
	s.profile = profile
	// The seed of the sandbox makes keys and ids, whose values decide nothing: one for all, so that they are made and verified once.
	s.service = sandbox.New(sandbox.Options{
		Profile: kind, Clock: s.clock, Seed: 1, ChannelSats: 5_000_000, Sleep: s.serviceSleeps, Timing: timing,
	})
	s.server = s.service.Transport()
	s.service.SetListPayments(listed)
	s.options = controller.Options{
		Namespace: operator, Clock: s.clock, Policy: payment.DefaultPolicy(), SyncInterval: 10 * time.Minute, Concurrency: 4,
	}
	if s.mutation.policy != nil {
		s.mutation.policy(&s.options.Policy)
	}
}

// newSim makes the cluster and the service of a seed, with nothing declared yet but wallets, which are ready.
func newSim(seed uint64, broken mutation, tracing bool) *sim {
	s := newWorld(seed, broken, tracing)
	kind, profile := sandbox.Documented, v1alpha1.ProfileConservative
	if s.chance(50) {
		kind, profile = sandbox.Reference, v1alpha1.ProfileReference
		if s.chance(15) {
			profile = v1alpha1.ProfileConservative
		}
	}
	listed := s.chance(60)
	s.serve(kind, profile, listed, sandbox.Timing{})
	s.splitBrain = s.chance(50)
	if broken.shards {
		s.shards, s.splitBrain = &shards{}, true // each leads, what is of its shard
	}
	switch seed % 4 {
	case 1:
		s.demandConsent()
	case 3:
		s.dailySats = 45_000 // of about 60,000 that are ordered
	}
	s.byHand = s.has(signatures, 2)
	for i := range 1 + s.random.IntN(2) {
		s.addWallet(fmt.Sprintf("wallet-%d", i), walletKeys[i], profile)
	}
	s.plan()
	observed := seed%3 == 0
	if observed {
		s.observe()
	}
	s.note("seed %d: %s service, wallets %s, two leaders %t, list %t, observed %t", seed, kind, profile, s.splitBrain, listed, observed)
	for i := range 2 {
		r := &replica{sim: s, name: string(rune('a' + i))}
		s.replicas = append(s.replicas, r)
		s.start(r)
	}
	s.leader = s.replicas[0]
	s.settle(time.Minute)
	s.api.rules = broken.rules
	for _, f := range broken.faults {
		if _, err := s.service.AddFault(f); err != nil {
			panic(err)
		}
	}
	return s
}

func (s *sim) chance(percent int) bool { return s.random.IntN(100) < percent }

// serviceSleeps lets d pass for the service at work on a request.
func (s *sim) serviceSleeps(_ context.Context, d time.Duration) { s.sleep(d) }

func (s *sim) addWallet(name string, keys accountKeys, profile v1alpha1.ServerProfile) {
	s.canaries = append(s.canaries, keys.vanilla, keys.colored)
	s.mustCreate(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: team, Name: name}, StringData: map[string]string{
		"xprvVanilla": keys.vanilla, "xprvColored": keys.colored, "masterFingerprint": "0102030" + name[len(name)-1:],
	}})
	s.mustCreate(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: team, Name: name + "-token"}, StringData: map[string]string{"token": token}})
	wallet := testkit.MakeWallet(name).Namespace(team).Profile(profile).Token(name+"-token", "token").Obj()
	if s.dailySats > 0 {
		wallet.Spec.Limits = &v1alpha1.WalletLimits{DailySats: &s.dailySats}
	}
	if s.demandsConsent() {
		wallet.Spec.Limits = &v1alpha1.WalletLimits{RequireApprovalAboveSats: &s.consents.aboveSats, RequiredApprovals: &s.consents.required}
	}
	if s.byHand {
		s.signByHand(wallet, keys, name)
	}
	s.mustCreate(wallet)
	s.addObject(&object{key: keyOf(wallet), wallet: name, made: wallet})
}

func (s *sim) mustCreate(made client.Object) {
	if err := s.api.create(made); err != nil {
		panic(err)
	}
}

func (s *sim) addObject(o *object) {
	o.index = len(s.objects)
	s.objects = append(s.objects, o)
}

func (s *sim) objectOf(key objectKey) *object {
	for _, o := range s.objects {
		if o.key == key {
			return o
		}
	}
	return nil
}

// plan decides what people will declare: four payments, some of them again under another name or wallet.
func (s *sim) plan() {
	wallets := len(s.objects)
	for i := range 4 {
		wallet := fmt.Sprintf("wallet-%d", s.random.IntN(wallets))
		name := fmt.Sprintf("payment-%d", i)
		if len(s.orders) > 0 && s.chance(20) {
			s.planObject(s.orders[s.random.IntN(len(s.orders))], name, wallet)
			continue
		}
		var o *order
		sats := int64(5000 + 1000*i)
		validity := 24 * time.Hour
		if s.chance(25) {
			validity = time.Duration(3+s.random.IntN(20)) * time.Minute
		}
		if s.chance(55) {
			o = s.lightningOrder(sats, validity)
		} else {
			o = s.onchainOrder(sats+20_000, validity)
		}
		s.orders = append(s.orders, o)
		s.planObject(o, name, wallet)
	}
	s.planInvoices(wallets)
	if s.seed%4 == 2 && s.shards == nil { // who declares what refers to a LightningInvoice that moved away waits for as long as that is gone
		s.planReferences(wallets)
	}
	if s.has(settlements, 10) {
		s.planSettlements(wallets)
	}
	percent := 0 // where nothing tells of news each invoice that may be paid late is looked at every minute: TestExtras does that
	if s.seed%3 == 0 {
		percent = 3
	}
	if s.has(renewals, percent) {
		s.planRenewal(wallets)
	}
	if s.has(halves, 2) && s.dailySats == 0 { // the budget is counted from records
		s.losesAfter = 1 + s.extra.IntN(12)
	}
}

// extra is what only some seeds have beside payments and invoices.
type extra int

const (
	settlements extra = iota + 1
	renewals
	halves
	signatures
)

// has reports whether the seed has that extra: so many seeds of a hundred do, and each of a mutation that asks for it.
func (s *sim) has(what extra, percent int) bool {
	return s.extra.IntN(100) < percent || s.mutation.extra == what
}

// lightningOrder is the payment of a fresh invoice.
func (s *sim) lightningOrder(sats int64, validity time.Duration) *order {
	text, err := s.service.IssueInvoice(sandbox.NewInvoice{AmountSats: amount.Sat(sats), Expiry: validity})
	if err != nil {
		panic(err)
	}
	decoded, err := bolt11.Decode(text)
	if err != nil {
		panic(err)
	}
	return &order{
		key: decoded.PaymentHashHex(), kind: v1alpha1.RecordLightningPayment, sats: sats, destination: text,
		startBefore: decoded.ExpiresAt().Add(-payment.ExpiryMargin),
	}
}

// onchainOrder is a send to a fresh address.
func (s *sim) onchainOrder(sats int64, validity time.Duration) *order {
	address, err := s.service.NewAddress()
	if err != nil {
		panic(err)
	}
	return &order{
		key: sandbox.OrderKey(address, amount.Sat(sats), "", 0, 2), kind: v1alpha1.RecordOnchainSend, sats: sats, destination: address,
		startBefore: begin.Add(validity),
	}
}

func (s *sim) planObject(o *order, name, wallet string) {
	planned := &object{wallet: wallet, order: o}
	if o.kind == v1alpha1.RecordLightningPayment {
		planned.made = testkit.MakeLightningPayment(name).Namespace(team).Wallet(wallet).Invoice(o.destination).Obj()
		planned.record = payment.LightningRecordName(o.key)
	} else {
		planned.made = testkit.MakeOnchainSend(name).Namespace(team).Wallet(wallet).Address(o.destination).AmountSats(o.sats).
			MaxFeeSats(5000).ValidUntil(o.startBefore).Obj()
		planned.record = payment.OnchainRecordName(team, name, wallet, "")
	}
	planned.key = keyOf(planned.made)
	s.declareCarefully(planned)
	o.objects = append(o.objects, planned)
	s.addObject(planned)
	s.toMake = append(s.toMake, planned)
}

// leading reports whether r works on its queue. Where there is one leader, another takes over once it is gone or silent for half a minute.
func (s *sim) leading(r *replica) bool { return s.splitBrain || s.leader == r }

func (s *sim) elect() {
	now := s.clock.Now()
	l := s.leader
	if s.splitBrain || l == nil || (!l.dead && l.frozenUntil.Sub(now) < 30*time.Second) {
		return
	}
	for _, r := range s.replicas {
		if r != l && !r.dead && !r.frozenUntil.After(now) {
			s.leader = r
			s.note("%s leads", r.name)
			s.enqueueAll(r)
			return
		}
	}
}

// tick lets a call take its time.
func (s *sim) tick() { s.clock.Step(time.Duration(1+s.random.IntN(20)) * time.Millisecond) }

// settle lets everything happen that is due within d, without faults.
func (s *sim) settle(d time.Duration) {
	limit := s.clock.Now().Add(d)
	for s.step(limit) {
		s.elect()
	}
}

// play is the whole of a seed: faults, then rest, then the oracles.
func (s *sim) play() {
	s.chaotic, s.budget = true, 3+s.random.IntN(8)
	for range s.budget / 2 { // half of the faults wait for the first payments, or most would come too late for any
		s.lieInWait()
	}
	until := s.clock.Now().Add(time.Duration(5+s.random.IntN(60)) * time.Minute)
	for steps := 0; steps < 20_000 && !s.exhausted() && s.step(until); steps++ {
		s.elect()
	}
	s.calm()
	s.driveToRest()
	s.advance(time.Hour) // what is on the way lands before anybody looks
	if s.judge.foreign || s.confused() || s.judge.stats.recordsLost > 0 {
		s.watchWallets()
	}
	s.saySo()
	s.final()
}

// watchWallets has the wallets looked at until it is certain which payments no record knows, and then what may have to wait for it.
func (s *sim) watchWallets() {
	before := s.options.SyncInterval
	s.syncEvery(10 * time.Minute)
	for _, r := range s.replicas {
		for i, o := range s.objects {
			if !o.rests() {
				r.due[i] = s.clock.Now()
			}
		}
	}
	s.settle(30 * time.Minute)
	s.syncEvery(before)
	for _, r := range s.replicas {
		for i, o := range s.objects {
			if s.leading(r) && o.rests() && s.api.current(o.key) != nil {
				r.due[i] = s.clock.Now()
			}
		}
	}
	s.settle(time.Second)
}

// syncEvery has wallets looked at so often.
func (s *sim) syncEvery(interval time.Duration) {
	s.options.SyncInterval = interval
	for _, r := range s.replicas {
		r.controllers.Wallet.SyncInterval = interval
	}
}

// exhausted reports whether no fault is left that could strike, or nothing that it could strike.
func (s *sim) exhausted() bool {
	if s.budget > 0 || len(s.toMake) > 0 || s.moving() {
		return false
	}
	waiting := len(s.faults)
	for _, f := range s.service.Faults() {
		if f.Hit < max(f.Count, 1) {
			waiting++
		}
	}
	return waiting == 0 || s.atRest()
}

// calm ends all faults: what people held back goes on, what was paused resumes.
func (s *sim) calm() {
	for len(s.toMake) > 0 {
		s.declare()
	}
	s.gather()
	s.note("the faults stop")
	s.chaotic, s.faults = false, nil
	s.syncEvery(time.Hour) // it may take days until all is at rest, and most looks at a wallet would then be at one that rests
	s.service.ClearFaults(0)
	if s.service.Options().Profile == sandbox.Documented {
		s.service.SetListPayments(true) // without it this service shows no payment that it does not have
	}
	for _, o := range s.objects {
		s.setSuspend(o, false)
	}
	s.decidePlans()
	s.payOffers()
	s.payRenewals()
	for _, o := range s.orders {
		if o.kind == v1alpha1.RecordLightningPayment && o.key != "" {
			_ = s.service.SetPayee(o.key, sandbox.PayeeSettles)
			_ = s.service.Resolve(o.key, true) // where it hangs
		}
	}
}

// driveToRest goes on until no payment asks to be looked at again.
func (s *sim) driveToRest() {
	limit := s.clock.Now().Add(72 * time.Hour)
	for steps := 0; ; steps++ {
		if s.atRest() {
			return
		}
		if steps > 200_000 || !s.step(limit) {
			s.fail("I13", "no rest after %d steps, at %s: %s", steps, s.clock.Now().Format(time.RFC3339), s.unrest())
			return
		}
		s.elect()
	}
}

func (s *sim) atRest() bool { return len(s.tasks) == 0 && s.unrest() == "" }

// unrest names what is still to be done; looks at wallets, which go on for ever, count only where they are due.
func (s *sim) unrest() string {
	var open []string
	for _, r := range s.replicas {
		if r.dead || r.frozenUntil.After(s.clock.Now()) {
			open = append(open, r.name+" is down")
		}
		for _, kind := range watchedKinds {
			if r.seen[kind] < len(s.api.watches[kind]) {
				open = append(open, r.name+" lags behind")
			}
		}
		if !s.leading(r) {
			continue
		}
		for i, due := range r.due {
			if o := s.objects[i]; !due.IsZero() && !s.orphaned(o) && (o.rests() || !due.After(s.clock.Now())) {
				open = append(open, fmt.Sprintf("%s is due at %s", s.objects[i].key, due.Format(time.RFC3339)))
			}
		}
	}
	for _, o := range s.objects {
		if !o.payAt.IsZero() {
			open = append(open, o.key.String()+" is to be paid")
		}
		if s.demandsConsent() && s.asksForConsent(o) {
			open = append(open, o.key.String()+" is to be approved")
		}
		if s.requestOf(o) != nil {
			open = append(open, o.key.String()+" is to be signed")
		}
	}
	return strings.Join(open, ", ")
}

// note adds a line to the timeline.
func (s *sim) note(format string, arguments ...any) {
	if !s.tracing {
		return
	}
	since := s.clock.Now().Sub(begin)
	s.trace = append(s.trace, fmt.Sprintf("%10.3f ", since.Seconds())+fmt.Sprintf(format, arguments...))
}

func (s *sim) fail(oracle, format string, arguments ...any) {
	text := fmt.Sprintf(format, arguments...)
	s.note("!!! %s: %s", oracle, text)
	s.failures = append(s.failures, failure{oracle, text})
}

func (s *sim) check(oracle string, holds bool, format string, arguments ...any) {
	if !holds {
		s.fail(oracle, format, arguments...)
	}
}

// scan looks for what is nobody's to read.
func (s *sim) scan(where, text string) {
	for _, canary := range s.canaries {
		if strings.Contains(text, canary) {
			s.fail("I15", "a secret is in %s: %q", where, text)
		}
	}
	if strings.Contains(text, "cHNidP8B") {
		s.fail("I15", "a PSBT is in %s: %q", where, text)
	}
}
