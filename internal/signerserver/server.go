// Package signerserver is the signer that package remotesigner asks: it has the keys of one wallet, and limits of its own that whoever asks
// cannot lift. docs/signer.md is the protocol. It trusts the operator with nothing but the destination, which a PSBT does not say.
package signerserver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strconv"
	"sync"

	"k8s.io/utils/clock"

	"github.com/utexo/utexo-operator/internal/keys"
	"github.com/utexo/utexo-operator/internal/psbtcheck"
	"github.com/utexo/utexo-operator/internal/remotesigner"
	"github.com/utexo/utexo-operator/internal/signer"
)

// Config is what a Server is made of. All of it is required.
type Config struct {
	Keys    *keys.Set
	Limits  Limits
	Journal *Journal
	Clock   clock.PassiveClock
	// Log gets one line a request: what was asked for and what came of it, no PSBT, no invoice and no key.
	Log *slog.Logger
}

// Server signs for one wallet. It is safe for concurrent use; it signs one PSBT at a time.
type Server struct {
	public  keys.Public
	signer  *signer.Local
	limits  Limits
	journal *Journal
	clock   clock.PassiveClock
	log     *slog.Logger

	// signing makes one step of counting, signing and writing down.
	signing sync.Mutex
}

// New returns a server, or says what is wrong with the limits.
func New(config Config) (*Server, error) {
	public := config.Keys.Public()
	if err := config.Limits.Check(public.Network); err != nil {
		return nil, err
	}
	return &Server{
		public: public, signer: signer.NewLocal(config.Keys), limits: config.Limits, journal: config.Journal, clock: config.Clock,
		log: config.Log,
	}, nil
}

// Handler serves the protocol. Who may ask is decided below it, by mutual TLS: see TLS.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+remotesigner.KeysPath, s.showKeys)
	mux.HandleFunc("POST "+remotesigner.SignPath, s.sign)
	return mux
}

// HealthHandler answers GET /healthz: 200 while something new can be signed. It needs no certificate and tells nothing else.
func (s *Server) HealthHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if !s.journal.Healthy() {
			http.Error(w, ErrJournal.Error(), http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, "ok\n") // whoever asked has gone where this fails
	})
	return mux
}

func (s *Server) showKeys(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, remotesigner.Keys{
		Version: remotesigner.Version, Network: s.public.Network, MasterFingerprint: s.public.MasterFingerprint,
		XpubVanilla: s.public.XpubVanilla, XpubColored: s.public.XpubColored,
	})
}

func (s *Server) sign(w http.ResponseWriter, r *http.Request) {
	request, status, problem := read(w, r)
	if problem != "" {
		s.log.Warn("request not understood", "status", status, "problem", problem)
		answer(w, status, remotesigner.Refusal{Code: "BadRequest", Message: problem})
		return
	}
	log := s.log.With("record", remotesigner.Plain(request.Intent.Record, 253), "attempt", request.Intent.Attempt,
		"kind", remotesigner.Plain(string(request.Intent.Kind), 32), "amountSats", int64(request.Intent.AmountSats))
	signed, err := s.Sign(r.Context(), request)
	refused := new(signer.RefusedError)
	switch {
	case err == nil:
		log.Info("signed", "txid", signed.Txid, "outflowSats", int64(signed.Inspection.NetOutflowSats),
			"spent24hSats", int64(s.journal.SpentSats(s.clock.Now())))
		answer(w, http.StatusOK, remotesigner.Answer{Version: remotesigner.Version, SignedPSBT: signed.PSBT})
	case errors.As(err, &refused):
		log.Warn("refused", "code", refused.Code, "reason", refused.Message)
		answer(w, http.StatusUnprocessableEntity, remotesigner.Refusal{Code: refused.Code, Message: refused.Message})
	case errors.Is(err, ErrJournal):
		log.Error("not signed: the journal cannot be written", "cause", err.Error())
		answer(w, http.StatusServiceUnavailable, remotesigner.Refusal{Code: "JournalUnavailable", Message: ErrJournal.Error()})
	default:
		log.Error("not signed", "cause", err.Error())
		answer(w, http.StatusInternalServerError, remotesigner.Refusal{Code: "Internal", Message: "the PSBT could not be signed"})
	}
}

// Sign judges request and signs its PSBT. It fails with a *signer.RefusedError where it must not be signed, and with ErrJournal where the
// signature could not be written down, in which case nobody gets it.
//
// What was signed within the last 24 hours is signed again, whatever the limits and the time are now: the signature is out, and who lost
// the answer needs it to learn what became of the payment.
func (s *Server) Sign(ctx context.Context, request *remotesigner.Request) (*signer.Signed, error) {
	if refused := addressed(request, s.public); refused != nil {
		return nil, refused
	}
	inspection, err := psbtcheck.Inspect(request.UnsignedPSBT, s.public)
	if err != nil {
		return nil, refusedPSBT(err)
	}
	s.signing.Lock()
	defer s.signing.Unlock()
	now := s.clock.Now()
	intent := request.Intent.Intent()
	at, again := s.journal.Signed(inspection.Txid, inspection.NetOutflowSats, now)
	if !again {
		at = now
	}
	if refused := consistent(intent, s.public.Network, at); refused != nil {
		return nil, refused
	}
	policy := intent.Policy()
	policy.Assets.AllowUnproved = true // of what was signed before, it was judged then
	if !again {
		if refused := s.limits.allows(intent, s.public.Network); refused != nil {
			return nil, refused
		}
		policy = s.limits.policy(intent)
	}
	signed, err := s.signer.Sign(ctx, signer.Request{UnsignedPSBT: request.UnsignedPSBT, Policy: policy, Intent: intent})
	if err != nil {
		return nil, refusedPSBT(err)
	}
	if again {
		return signed, nil
	}
	outflow := signed.Inspection.NetOutflowSats
	if refused := s.limits.fits(s.journal.SpentSats(now), outflow); refused != nil {
		return nil, refused
	}
	// The signature exists here and nowhere else until it is written down that it does.
	entry := Entry{At: now.UTC(), Txid: signed.Txid, OutflowSats: outflow, Record: intent.Record, Attempt: intent.Attempt}
	if err := s.journal.Append(entry); err != nil {
		return nil, err
	}
	return signed, nil
}

// refusedPSBT makes a refusal of one of package psbtcheck.
func refusedPSBT(err error) error {
	refusal := new(psbtcheck.Refusal)
	switch {
	case !errors.As(err, &refusal):
		return err
	case refusal.Code == psbtcheck.AssetNotProven:
		return refuse(string(refusal.Code), "not without --allow-unproved-assets: %s", refusal.Message)
	}
	return refuse(string(refusal.Code), "the PSBT: %s", refusal.Message)
}

// read reads the body strictly: a field that is not known might have meant something.
func read(w http.ResponseWriter, r *http.Request) (request *remotesigner.Request, status int, problem string) {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return nil, http.StatusUnsupportedMediaType, "the body is not application/json"
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, remotesigner.MaxRequestBytes))
	if tooLong := new(http.MaxBytesError); errors.As(err, &tooLong) {
		return nil, http.StatusRequestEntityTooLarge, "the body is longer than " + strconv.Itoa(remotesigner.MaxRequestBytes) + " bytes"
	}
	if err != nil {
		return nil, http.StatusBadRequest, "the body cannot be read"
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	request = new(remotesigner.Request)
	if err := decoder.Decode(request); err != nil {
		return nil, http.StatusBadRequest, "the body is not a request of the protocol" // the error would quote it
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, http.StatusBadRequest, "something follows the request in the body"
	}
	return request, 0, ""
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // whoever asked has gone where this fails, and asks again
}
