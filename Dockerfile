# The image of Weft, built by docker or podman from a registry's Debian:
#
#   podman build -t docker.io/library/weft:0.1.0 .     # podman would put localhost/ before weft, which is another image on nodes
#
# tools/image makes the same of a build on a Debian machine without any registry (docs/building.md). What the image holds
# is decided there, for both.
FROM docker.io/library/debian:12 AS build
RUN apt-get update && apt-get install -y --no-install-recommends make git && rm -rf /var/lib/apt/lists/*
COPY . /src
WORKDIR /src
RUN make build && tools/image --rootfs /image

FROM scratch
COPY --from=build /image /
ENV PATH=/usr/bin:/usr/sbin
CMD ["weft", "--help"]
