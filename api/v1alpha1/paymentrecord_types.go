package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// RecordKind says what a PaymentRecord is the record of.
// +kubebuilder:validation:Enum=LightningPayment;OnchainSend;LightningInvoice;InvoicePin;OrderClaim;SendClaim;WalletEpoch;Settlement
type RecordKind string

// Kinds of records. The name of a record is made from what it records, so that the API server refuses a second one.
const (
	// RecordLightningPayment is one payment hash: ln-<payment hash>, whichever wallet pays.
	RecordLightningPayment RecordKind = "LightningPayment"
	// RecordOnchainSend is one on-chain order: oc-<digest of wallet, namespace, name and idempotency key>.
	RecordOnchainSend RecordKind = "OnchainSend"
	// RecordLightningInvoice is the one published BOLT11 of a LightningInvoice: in-<UID>, or in-<UID>-<n> of its n-th renewal.
	RecordLightningInvoice RecordKind = "LightningInvoice"
	// RecordInvoicePin is the BOLT11 that a LightningPayment's invoiceFrom was resolved to, once: pin-<digest>.
	RecordInvoicePin RecordKind = "InvoicePin"
	// RecordOrderClaim is what the service takes for one on-chain order: of-<digest of service, destination, amount, asset, fee rate>.
	RecordOrderClaim RecordKind = "OrderClaim"
	// RecordSendClaim is one send id of the service: sid-<send id>.
	RecordSendClaim RecordKind = "SendClaim"
	// RecordWalletEpoch marks that the records of a wallet are complete since it was made: epoch-<digest of the wallet>.
	RecordWalletEpoch RecordKind = "WalletEpoch"
	// RecordSettlement is the one settle call of a Settlement: se-<UID>.
	RecordSettlement RecordKind = "Settlement"
)

// RecordPhase says how far a recorded payment is. Phases go forward only, but for the start of a further attempt after proof that
// the one before was not sent.
// +kubebuilder:validation:Enum=Claimed;Began;AwaitingSignature;Submitting;Submitted;Succeeded;Failed;Cancelled;Unknown;Held
type RecordPhase string

// Record phases.
const (
	// RecordClaimed means that the identity is taken and no call that could lead to a payment was made in the current attempt.
	RecordClaimed RecordPhase = "Claimed"
	// RecordBegan means that the service may have been asked to begin. No money can have moved.
	RecordBegan RecordPhase = "Began"
	// RecordAwaitingSignature means that the service began, and that people have to sign. No money can have moved.
	RecordAwaitingSignature RecordPhase = "AwaitingSignature"
	// RecordSubmitting means that the call that moves money was about to be made. From here on money may have moved.
	RecordSubmitting RecordPhase = "Submitting"
	// RecordSubmitted means that the service is known to have the payment.
	RecordSubmitted RecordPhase = "Submitted"
	// RecordSucceeded means that the money moved.
	RecordSucceeded RecordPhase = "Succeeded"
	// RecordFailed means that no money moved.
	RecordFailed RecordPhase = "Failed"
	// RecordCancelled means that the payment was given up before any money could move.
	RecordCancelled RecordPhase = "Cancelled"
	// RecordUnknown means that money may have moved and the operator cannot find out.
	RecordUnknown RecordPhase = "Unknown"
	// RecordHeld is the only phase of records that claim something or keep an invoice.
	RecordHeld RecordPhase = "Held"
)

// RecordHolder names the resource that a record belongs to. A resource that is created again under the same namespace and name is
// the same holder.
type RecordHolder struct {
	// kind of the resource.
	// +required
	// +kubebuilder:validation:MaxLength=63
	Kind string `json:"kind"`
	// namespace of the resource.
	// +required
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace"`
	// name of the resource.
	// +required
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// uid of the resource that made the record.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	UID string `json:"uid,omitempty"`
}

// RecordWallet says which wallet, at which service, a record is about.
type RecordWallet struct {
	// name of the Wallet.
	// +required
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// namespace of the Wallet, where it is not the holder's.
	// +optional
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace,omitempty"`
	// masterFingerprint of the wallet.
	// +required
	// +kubebuilder:validation:MaxLength=8
	MasterFingerprint string `json:"masterFingerprint"`
	// xpubVanilla of the wallet, which is its identity at the service.
	// +optional
	// +kubebuilder:validation:MaxLength=120
	XpubVanilla string `json:"xpubVanilla,omitempty"`
	// server is the URL of the service.
	// +required
	// +kubebuilder:validation:MaxLength=2048
	Server string `json:"server"`
}

// PaymentRecordSpec is what was ordered. It changes only where a record that
// came to nothing is taken over.
type PaymentRecordSpec struct {
	// kind of the record: LightningPayment, OnchainSend, LightningInvoice, InvoicePin, OrderClaim, SendClaim, WalletEpoch or Settlement.
	// +required
	Kind RecordKind `json:"kind"`
	// wallet that the record is about.
	// +required
	Wallet RecordWallet `json:"wallet"`
	// paymentRequest is the BOLT11.
	// +optional
	// +kubebuilder:validation:MaxLength=8192
	PaymentRequest string `json:"paymentRequest,omitempty"`
	// paymentHash of the BOLT11, 64 hex digits.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	PaymentHash string `json:"paymentHash,omitempty"`
	// requestID is the service's id: of a published invoice, or of a send that is claimed or followed.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	RequestID string `json:"requestID,omitempty"`
	// destination: the payee's public key, an address or an RGB invoice.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	Destination string `json:"destination,omitempty"`
	// amountSats ordered, in sat.
	// +optional
	AmountSats *int64 `json:"amountSats,omitempty"`
	// asset and amount ordered.
	// +optional
	Asset *AssetAmount `json:"asset,omitempty"`
	// maxFeeSats is the most that the payment may cost beyond its amount, in sat.
	// +optional
	MaxFeeSats int64 `json:"maxFeeSats,omitempty"`
	// feeRate of an on-chain send, in sat/vB.
	// +optional
	FeeRate int64 `json:"feeRate,omitempty"`
	// startBefore is the instant after which no attempt begins.
	// +optional
	StartBefore *metav1.Time `json:"startBefore,omitempty"`
	// source is where an InvoicePin's BOLT11 was read.
	// +optional
	// +kubebuilder:validation:MaxLength=600
	Source string `json:"source,omitempty"`
	// recordRef names the record that a claim belongs to.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	RecordRef string `json:"recordRef,omitempty"`
	// epoch is the value of a WalletEpoch.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Epoch string `json:"epoch,omitempty"`
}

// PaymentJournal is what was done and what is known. Every change is a compare-and-swap on the record's resourceVersion.
// It is not named status, and no subresource, so that backup tools keep it.
type PaymentJournal struct {
	// phase: Claimed, Began, AwaitingSignature, Submitting, Submitted, Succeeded, Failed, Cancelled or Unknown; Held where there is no payment.
	// +required
	Phase RecordPhase `json:"phase"`
	// holder is the resource that the record belongs to. It changes only where the payment ended and nothing was submitted.
	// +required
	Holder RecordHolder `json:"holder"`
	// attempt that is current, from 1; 0 before the first.
	// +optional
	Attempt int32 `json:"attempt,omitempty"`
	// startedAt is when the current attempt began.
	// +optional
	StartedAt *metav1.MicroTime `json:"startedAt,omitempty"`
	// submittedAt is when the current attempt was about to be submitted.
	// +optional
	SubmittedAt *metav1.MicroTime `json:"submittedAt,omitempty"`
	// notAfter is the instant after which no byte of the current attempt's call that moves money is written.
	// +optional
	NotAfter *metav1.MicroTime `json:"notAfter,omitempty"`
	// endCalls is how many times the call that moves money was made, or about to be made, for the current attempt.
	// +optional
	EndCalls int32 `json:"endCalls,omitempty"`
	// answeredAttempt is the last attempt of which every call had a clear answer, so that nothing of it can still land; 0 for none.
	// +optional
	AnsweredAttempt int32 `json:"answeredAttempt,omitempty"`
	// refusals is how many attempts the service refused before any effect.
	// +optional
	Refusals int32 `json:"refusals,omitempty"`
	// misses is how many attempts came to nothing for no reason that waiting mends.
	// +optional
	Misses int32 `json:"misses,omitempty"`
	// retryAfter is the instant before which no further attempt begins.
	// +optional
	RetryAfter *metav1.MicroTime `json:"retryAfter,omitempty"`
	// signBefore is, of an attempt that people sign, the instant after which its signature is not used any more.
	// +optional
	SignBefore *metav1.MicroTime `json:"signBefore,omitempty"`
	// unsignedAttempts is how many attempts nobody signed in time.
	// +optional
	UnsignedAttempts int32 `json:"unsignedAttempts,omitempty"`
	// absentBefore is true where the service did not know the payment hash before
	// the first attempt, so that what it knows later is this payment and no
	// receipt.
	// +optional
	AbsentBefore bool `json:"absentBefore,omitempty"`
	// txid of the current attempt's transaction.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Txid string `json:"txid,omitempty"`
	// psbtDigest is the SHA-256 digest of the current attempt's unsigned PSBT.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	PSBTDigest string `json:"psbtDigest,omitempty"`
	// inputs are the outpoints, txid:vout, that the current attempt's transaction spends.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=80
	Inputs []string `json:"inputs,omitempty"`
	// plan is what was found in the current attempt's transaction.
	// +optional
	Plan *OnchainPlan `json:"plan,omitempty"`
	// feeEstimateSats is the fee that the service expected, in sat.
	// +optional
	FeeEstimateSats *int64 `json:"feeEstimateSats,omitempty"`
	// firstAbsentAt is when the service first said, since the last unclear call, that it does not know the payment.
	// +optional
	FirstAbsentAt *metav1.MicroTime `json:"firstAbsentAt,omitempty"`
	// firstFailedAt is when the service first said that the payment failed.
	// +optional
	FirstFailedAt *metav1.MicroTime `json:"firstFailedAt,omitempty"`
	// recheckedAt is when a failed payment was looked at a last time.
	// +optional
	RecheckedAt *metav1.MicroTime `json:"recheckedAt,omitempty"`
	// requestID is the service's id: the payment hash, or the send id.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	RequestID string `json:"requestID,omitempty"`
	// serverStatus is the service's own word for the state.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	ServerStatus string `json:"serverStatus,omitempty"`
	// feeSats that the service reports, in sat.
	// +optional
	FeeSats *int64 `json:"feeSats,omitempty"`
	// amountSatsSent that the service reports, in sat.
	// +optional
	AmountSatsSent *int64 `json:"amountSatsSent,omitempty"`
	// closeTxids that the service reports.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=128
	CloseTxids []string `json:"closeTxids,omitempty"`
	// sweepTxid that the service reports.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	SweepTxid string `json:"sweepTxid,omitempty"`
	// errorCode that the service reports.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	ErrorCode string `json:"errorCode,omitempty"`
	// errorMessage that the service reports.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	ErrorMessage string `json:"errorMessage,omitempty"`
	// retryable is the service's label of a failure.
	// +optional
	Retryable *bool `json:"retryable,omitempty"`
	// channels that a settlement opened or failed to open.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=100
	Channels []SettledChannel `json:"channels,omitempty"`
	// channelsOpened is how many channels the service says that a settlement opened.
	// +optional
	ChannelsOpened *int64 `json:"channelsOpened,omitempty"`
	// reason of the phase, a reason of the conditions.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Reason string `json:"reason,omitempty"`
	// message of the phase, for a person.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`
	// resolution is the person's word that ended an unknown outcome.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	Resolution string `json:"resolution,omitempty"`
	// completedAt is when the outcome became known.
	// +optional
	CompletedAt *metav1.MicroTime `json:"completedAt,omitempty"`
}

// PaymentRecord is the operator's memory of one payment, in the operator's
// namespace. Its name is the payment's identity, so that creating it is the
// test and set that lets a manifest pay once. Users read it; only the operator
// writes it.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:shortName=payrec,categories=utexo
// +kubebuilder:printcolumn:name="Kind",type=string,JSONPath=`.spec.kind`
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.journal.phase`
// +kubebuilder:printcolumn:name="Attempt",type=integer,JSONPath=`.journal.attempt`
// +kubebuilder:printcolumn:name="Sats",type=integer,JSONPath=`.spec.amountSats`
// +kubebuilder:printcolumn:name="Namespace",type=string,JSONPath=`.journal.holder.namespace`
// +kubebuilder:printcolumn:name="Holder",type=string,JSONPath=`.journal.holder.name`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.journal.reason`,priority=1
// +kubebuilder:validation:XValidation:rule="self.spec == oldSelf.spec || oldSelf.journal.phase == 'Cancelled' || (oldSelf.journal.phase == 'Failed' && !has(oldSelf.journal.submittedAt)) || (self.spec.kind == 'OrderClaim' && oldSelf.spec.kind == 'OrderClaim')",message="spec is immutable"
// +kubebuilder:validation:XValidation:rule="oldSelf.journal.phase != 'Succeeded' || self.journal.phase == 'Succeeded'",message="a payment that succeeded stays so"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.journal.attempt) || (has(self.journal.attempt) && self.journal.attempt >= oldSelf.journal.attempt)",message="attempts are never taken back"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.journal.requestID) || (has(self.journal.requestID) && self.journal.requestID == oldSelf.journal.requestID)",message="the service's id of a payment never changes"
// +kubebuilder:validation:XValidation:rule="oldSelf.journal.phase == 'Cancelled' || oldSelf.spec.kind == 'OrderClaim' || (oldSelf.journal.phase == 'Failed' && !has(oldSelf.journal.submittedAt)) || (self.journal.holder.__namespace__ == oldSelf.journal.holder.__namespace__ && self.journal.holder.name == oldSelf.journal.holder.name && self.journal.holder.kind == oldSelf.journal.holder.kind)",message="a record changes hands only where nothing was submitted"
type PaymentRecord struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object's metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is what was ordered.
	// +required
	Spec PaymentRecordSpec `json:"spec"`

	// journal is what was done and what is known.
	// +required
	Journal PaymentJournal `json:"journal"`
}

// PaymentRecordList is a list of PaymentRecords.
// +kubebuilder:object:root=true
type PaymentRecordList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []PaymentRecord `json:"items"`
}
