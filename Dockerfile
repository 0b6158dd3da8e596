FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags='-s -w' -o /securecam ./cmd/securecam \
 && mkdir -p /data && chown 65532:65532 /data

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /securecam /securecam
COPY --from=build --chown=65532:65532 /data /data
ENV DATA_DIR=/data
VOLUME /data
EXPOSE 8080/tcp 8090/udp 8090/tcp 3478/tcp 3478/udp
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s CMD ["/securecam", "health"]
ENTRYPOINT ["/securecam"]
CMD ["serve"]
