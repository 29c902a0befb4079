# The gateway. It was written to the image's documentation and is not built in CI; `docker-compose.yml` says how the two are checked.
FROM node:20-bookworm-slim AS build
WORKDIR /concordat
COPY package.json package-lock.json .npmrc ./
RUN npm ci --ignore-scripts --omit=optional
COPY tsconfig.json tsconfig.build.json ./
COPY src src
RUN npm run build && npm prune --omit=dev --omit=optional --ignore-scripts

FROM node:20-bookworm-slim
ENV NODE_ENV=production
WORKDIR /concordat
COPY --from=build /concordat/package.json ./
COPY --from=build /concordat/node_modules node_modules
COPY --from=build /concordat/dist dist
COPY bin bin
COPY infra/compose infra/compose
COPY migrations migrations
COPY schema schema
USER node
EXPOSE 4000
HEALTHCHECK --interval=5s --timeout=3s --start-period=20s --retries=3 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:4000/readyz').then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "--max-semi-space-size=32", "bin/concordat.js"]
CMD ["serve", "--config", "/etc/concordat/concordat.yaml"]
