package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// OnchainSendSpec declares one on-chain send. All of it but mode, suspend and ttlSecondsAfterFinished is immutable: a change is another send.
// +kubebuilder:validation:XValidation:rule="[has(self.amountSats), has(self.asset)].exists_one(x, x)",message="set exactly one of amountSats and asset"
// +kubebuilder:validation:XValidation:rule="has(self.to.address) == has(self.amountSats)",message="an address is sent amountSats, an rgbInvoice is sent asset"
// +kubebuilder:validation:XValidation:rule="self.walletRef == oldSelf.walletRef",message="walletRef is immutable: declare a new OnchainSend"
// +kubebuilder:validation:XValidation:rule="self.to == oldSelf.to",message="to is immutable: declare a new OnchainSend"
// +kubebuilder:validation:XValidation:rule="has(self.amountSats) == has(oldSelf.amountSats) && (!has(self.amountSats) || self.amountSats == oldSelf.amountSats)",message="amountSats is immutable: declare a new OnchainSend"
// +kubebuilder:validation:XValidation:rule="has(self.asset) == has(oldSelf.asset) && (!has(self.asset) || self.asset == oldSelf.asset)",message="asset is immutable: declare a new OnchainSend"
// +kubebuilder:validation:XValidation:rule="self.feeRate == oldSelf.feeRate",message="feeRate is immutable: declare a new OnchainSend"
// +kubebuilder:validation:XValidation:rule="has(self.maxFeeSats) == has(oldSelf.maxFeeSats) && (!has(self.maxFeeSats) || self.maxFeeSats == oldSelf.maxFeeSats)",message="maxFeeSats is immutable: declare a new OnchainSend"
// +kubebuilder:validation:XValidation:rule="self.validUntil == oldSelf.validUntil",message="validUntil is immutable: declare a new OnchainSend"
// +kubebuilder:validation:XValidation:rule="has(self.idempotencyKey) == has(oldSelf.idempotencyKey) && (!has(self.idempotencyKey) || self.idempotencyKey == oldSelf.idempotencyKey)",message="idempotencyKey is immutable: declare a new OnchainSend"
// +kubebuilder:validation:XValidation:rule="(has(self.mode) && self.mode == 'Observe') == has(self.sendID)",message="mode Observe needs the sendID of the send that is followed, and no other mode has one"
// +kubebuilder:validation:XValidation:rule="has(self.sendID) == has(oldSelf.sendID) && (!has(self.sendID) || self.sendID == oldSelf.sendID)",message="sendID is immutable: declare a new OnchainSend"
type OnchainSendSpec struct {
	// walletRef names the Wallet that pays. Immutable.
	// +required
	WalletRef WalletReference `json:"walletRef"`

	// to is the destination: exactly one of address, with amountSats, and rgbInvoice, with asset. Immutable.
	// +required
	To OnchainDestination `json:"to"`

	// amountSats to send to the address, in sat, from 330. Immutable.
	// +optional
	// +kubebuilder:validation:Minimum=330
	// +kubebuilder:validation:Maximum=2100000000000000
	AmountSats *int64 `json:"amountSats,omitempty"`

	// asset and amount to send to the RGB invoice. Immutable.
	// +optional
	Asset *AssetAmount `json:"asset,omitempty"`

	// feeRate of the transaction, in sat/vB, from 1 to 1000, default 5.
	// Immutable.
	// +optional
	// +default=5
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	FeeRate int64 `json:"feeRate,omitempty"`

	// maxFeeSats is the most that may leave the wallet beyond amountSats, in sat,
	// from 0 to 100000000, default 10000. For an asset, all that may leave the
	// wallet in sat. Immutable.
	// +optional
	// +default=10000
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100000000
	MaxFeeSats *int64 `json:"maxFeeSats,omitempty"`

	// validUntil is when the send must have started, for example
	// 2026-12-31T23:59:59Z; after it nothing is sent. Required, so that a manifest
	// that is applied again in a new cluster years later moves nothing. Immutable.
	// +required
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^2[0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])$`
	ValidUntil metav1.Time `json:"validUntil"`

	// idempotencyKey tells orders of one namespace and name apart: a resource that
	// is deleted and created again with the same key is the same order and moves
	// no money again. Immutable.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	IdempotencyKey string `json:"idempotencyKey,omitempty"`

	// mode: Apply (default) makes the send; Plan only shows in status.plan what
	// would happen; Observe follows the send that sendID names, which somebody
	// else made, and never makes one.
	// +optional
	// +default="Apply"
	Mode PaymentMode `json:"mode,omitempty"`

	// sendID is the service's id of the send that is followed, in mode Observe
	// and only there. What the service shows of it must be what is declared.
	// Immutable.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9][A-Za-z0-9._:~-]*$`
	SendID string `json:"sendID,omitempty"`

	// suspend holds the send before its next call that moves money. What was submitted is still observed.
	// +optional
	Suspend bool `json:"suspend,omitempty"`

	// ttlSecondsAfterFinished after which the resource is deleted. It
	// counts from when the payment succeeded, or failed after it was submitted:
	// what failed before, or is Unknown, stays for somebody to see. The
	// PaymentRecord stays, so that nothing is paid again.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=315360000
	TTLSecondsAfterFinished *int32 `json:"ttlSecondsAfterFinished,omitempty"`
}

// OnchainDestination is where an on-chain send goes: exactly one member.
// +kubebuilder:validation:XValidation:rule="[has(self.address), has(self.rgbInvoice)].exists_one(x, x)",message="set exactly one of address and rgbInvoice"
type OnchainDestination struct {
	// address is a bitcoin address of the wallet's network.
	// +optional
	// +kubebuilder:validation:MinLength=14
	// +kubebuilder:validation:MaxLength=128
	Address string `json:"address,omitempty"`

	// rgbInvoice is an RGB invoice of the wallet's network.
	// +optional
	// +kubebuilder:validation:MinLength=8
	// +kubebuilder:validation:MaxLength=2048
	RGBInvoice string `json:"rgbInvoice,omitempty"`
}

// OnchainPlan is what was found in the transaction before it was signed.
type OnchainPlan struct {
	// outflowSats is what leaves the wallet in all, in sat.
	// +optional
	OutflowSats int64 `json:"outflowSats"`
	// feeSats is the transaction's fee, in sat.
	// +optional
	FeeSats int64 `json:"feeSats"`
	// outputs of the transaction that are not the wallet's own.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Outputs []PlannedOutput `json:"outputs,omitempty"`
	// hash is the SHA-256 digest of the unsigned PSBT, 64 hex digits.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Hash string `json:"hash,omitempty"`
}

// PlannedOutput is one output of a planned transaction.
type PlannedOutput struct {
	// address that is paid, or the script in hex where it has no address.
	// +required
	// +kubebuilder:validation:MaxLength=256
	Address string `json:"address"`
	// amountSats of the output, in sat.
	// +required
	AmountSats int64 `json:"amountSats"`
}

// OnchainSendStatus is what happened to an on-chain send. It projects the PaymentRecord and can be lost without harm.
type OnchainSendStatus struct {
	// observedGeneration is the generation of the spec that this status is about; -1 before the first look.
	// +optional
	// +default=-1
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// phase: Pending, Planned, AwaitingApproval, AwaitingSignature, Submitting, InFlight, Succeeded, Failed or Unknown.
	// +optional
	Phase PaymentPhase `json:"phase,omitempty"`

	// sendID is the service's id of the send.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	SendID string `json:"sendID,omitempty"`

	// txid of the transaction that was signed, 64 hex digits.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Txid string `json:"txid,omitempty"`

	// closeTxids are closing transactions of channels, as the service reports them; some services put channel ids here.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	CloseTxids []string `json:"closeTxids,omitempty"`

	// sweepTxid is the transaction that paid the destination, as the service reports it.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	SweepTxid string `json:"sweepTxid,omitempty"`

	// amountSatsSent is what the service says that it sent, in sat.
	// +optional
	AmountSatsSent *int64 `json:"amountSatsSent,omitempty"`

	// feeSats is what the service says that it cost, in sat.
	// +optional
	FeeSats *int64 `json:"feeSats,omitempty"`

	// serverStatus is the service's own word for the state of the send.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	ServerStatus string `json:"serverStatus,omitempty"`

	// errorCode of the service, where the send failed.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	ErrorCode string `json:"errorCode,omitempty"`

	// errorMessage of the service, where the send failed.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	ErrorMessage string `json:"errorMessage,omitempty"`

	// retryable is the service's own label of a failure. It is no proof that no
	// money moved, and nothing is retried because of it.
	// +optional
	Retryable *bool `json:"retryable,omitempty"`

	// attempt that is current, or was the last.
	// +optional
	Attempt *Attempt `json:"attempt,omitempty"`

	// plan is what the send does to the wallet: in mode Plan, where the Wallet
	// demands approvals, and once there is a transaction.
	// +optional
	Plan *PaymentPlan `json:"plan,omitempty"`

	// signing is what people have to sign now, where the Wallet's signer is Manual.
	// +optional
	Signing *SigningRequest `json:"signing,omitempty"`

	// recordRef names the PaymentRecord in the operator's namespace.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	RecordRef string `json:"recordRef,omitempty"`

	// completedAt is when the outcome became known.
	// +optional
	CompletedAt *metav1.Time `json:"completedAt,omitempty"`

	// conditions: Ready, Reconciling, Stalled, Succeeded, OutcomeKnown, Approved.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// OnchainSend sends bitcoin to an address, or an RGB asset to an RGB invoice, once.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=ocsend,categories=utexo
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Sats",type=integer,JSONPath=`.spec.amountSats`
// +kubebuilder:printcolumn:name="Asset Amount",type=integer,JSONPath=`.spec.asset.amount`
// +kubebuilder:printcolumn:name="Fee",type=integer,JSONPath=`.status.feeSats`
// +kubebuilder:printcolumn:name="Wallet",type=string,JSONPath=`.spec.walletRef.name`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Send ID",type=string,JSONPath=`.status.sendID`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="To",type=string,JSONPath=`.spec.to.address`,priority=1
// +kubebuilder:printcolumn:name="Txid",type=string,JSONPath=`.status.txid`,priority=1
type OnchainSend struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is the standard object's metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec declares the send. All of it but mode, suspend and ttlSecondsAfterFinished is immutable: a change is another send.
	// +required
	Spec OnchainSendSpec `json:"spec"`

	// status is what happened to it.
	// +optional
	// +default={"observedGeneration": -1, "conditions": [{"type": "Ready", "status": "Unknown", "reason": "Pending", "message": "waiting for the operator", "lastTransitionTime": "1970-01-01T00:00:00Z"}]}
	Status OnchainSendStatus `json:"status,omitempty"`
}

// OnchainSendList is a list of OnchainSends.
// +kubebuilder:object:root=true
type OnchainSendList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []OnchainSend `json:"items"`
}
