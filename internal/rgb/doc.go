// Package rgb reads and writes the texts of RGB: contract ids, amounts, beneficiaries and invoices, as rgb-invoicing 0.11 and baid64
// spell them. It is strict: a text that is not what the writer of today would write is refused rather than guessed at, because
// what is read here decides who gets an asset.
package rgb
