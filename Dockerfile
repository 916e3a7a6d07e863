# One image for each service: docker build --build-arg FOLDER=services/scheduling .
# It contains Node.js, that service's JavaScript and its npm packages, but no shell and no package manager, and runs on a read-only file system.

FROM node:26-slim AS node
WORKDIR /repository
ENV PNPM_HOME=/pnpm CI=true
RUN --mount=type=cache,target=/root/.npm npm install --global --no-fund --no-audit pnpm@12.18.0

# Only the files that `pnpm install` reads, so that the following layers are rebuilt only when these files change
FROM node AS manifests
COPY . .
RUN find . -type f ! -name package.json ! -name pnpm-lock.yaml ! -name pnpm-workspace.yaml -delete \
 && find . -type d -empty -delete

FROM node AS dependencies
ARG FOLDER
COPY --from=manifests /repository ./
RUN --mount=type=cache,id=pnpm,target=/pnpm/store \
    pnpm install --prod --frozen-lockfile --ignore-scripts --store-dir /pnpm/store --node-linker hoisted --filter-prod "{${FOLDER}}..." \
 && find node_modules -type l -delete && find node_modules -type f -name '*.map' -delete && rm -rf node_modules/.bin node_modules/.modules.yaml node_modules/.pnpm*

FROM node AS build
ARG FOLDER
COPY --from=manifests /repository ./
RUN --mount=type=cache,id=pnpm,target=/pnpm/store \
    pnpm install --prod --frozen-lockfile --ignore-scripts --store-dir /pnpm/store --filter ./deploy/image --filter-prod "{${FOLDER}}..."
COPY . .
RUN node deploy/image/src/main.ts "${FOLDER}" /app

# Node.js and the libraries it is linked with
FROM node AS runtime
RUN for file in $(ldd "$(readlink -f "$(command -v node)")" | grep -o '/[^ ]*'); do \
      mkdir -p "/runtime$(dirname "$file")" && cp -L "$file" "/runtime$file"; \
    done \
 && mkdir -p /runtime/usr/local/bin /runtime/etc \
 && cp -L "$(readlink -f "$(command -v node)")" /runtime/usr/local/bin/node \
 && echo 'node:x:1000:1000::/:' >/runtime/etc/passwd

FROM scratch
ARG FOLDER
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="AMQP Idioms: ${FOLDER}" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="MIT"
COPY --from=runtime /runtime /
COPY --from=dependencies /repository/node_modules /app/node_modules
COPY --from=build /app /app
WORKDIR /app
USER 1000:1000
ENV NODE_ENV=production PATH=/usr/local/bin HOST=0.0.0.0 PORT=3000
EXPOSE 3000
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT}/readyz`).then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
# STOP_TIMEOUT_MS is 8 s by default, which is less than any grace period
ENTRYPOINT ["node", "main.js"]
