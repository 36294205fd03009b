# The image holds one static binary, an empty directory for what the gateway makes
# itself, and the CA certificates by which it knows authorities of ACME, AWS KMS and
# Vault. There is no shell and no user database in it.
#
#     docker build -t suitegate .
#     docker run -v /etc/suitegate:/etc/suitegate:ro -p 5671:5671 suitegate
#
# With a validated version of Go's cryptographic module, in FIPS 140-3 mode:
#
#     docker build -t suitegate-fips --build-arg GOFIPS140=certified .
#
# cmd/suitegate/container_test.go reads this file, and runs what it describes
# in an empty root where no container engine is at hand.

FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
# Which version of the module, see `go help environment`; off is that of the Go
# release, and leaves the mode to GODEBUG.
ARG GOFIPS140=off
# The version comes from git by itself, so .git has to be in the build context.
RUN CGO_ENABLED=0 GOFIPS140=$GOFIPS140 go build -trimpath -ldflags="-s -w" -o /out/suitegate ./cmd/suitegate
RUN mkdir -m 0700 /out/state

FROM scratch
COPY --from=build /out/suitegate /suitegate
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build --chown=65532:65532 /out/state /var/lib/suitegate
# Without a user database HOME is /, and the default storage would be below it.
ENV XDG_DATA_HOME=/var/lib
USER 65532:65532
# AMQP, MQTT, STOMP, OpenWire and WebSocket over TLS, and the admin address.
EXPOSE 5671 8883 61614 61617 61619 9090
# Needs an admin.address in the configuration.
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s CMD ["/suitegate", "health", "--config", "/etc/suitegate/suitegate.yml"]
ENTRYPOINT ["/suitegate"]
CMD ["serve", "--config", "/etc/suitegate/suitegate.yml"]
