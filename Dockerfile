# The manager on a base with certificates, time zones and nothing else: docker build -t utexo-operator --build-arg VERSION=v0.1.0 .
# The signer, an image of its own: docker build -t utexo-signer --target signer --build-arg VERSION=v0.1.0 .
FROM --platform=$BUILDPLATFORM golang:1.26.8 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY api api
COPY cmd cmd
COPY internal internal
ARG VERSION=unknown TARGETOS TARGETARCH
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$VERSION" -o / ./cmd/manager ./cmd/utexo-signer

FROM gcr.io/distroless/static:nonroot AS signer
COPY --from=build /utexo-signer /utexo-signer
USER 65532:65532
ENTRYPOINT ["/utexo-signer"]

FROM gcr.io/distroless/static:nonroot
COPY --from=build /manager /manager
# By number, so that the kubelet can tell that it is not root.
USER 65532:65532
ENTRYPOINT ["/manager"]
