/* The page around GraphiQL: who asks, for what purpose, and whether the answer is wanted or its explanation. Tokens stay in this page's memory. */
;(() => {
  'use strict'
  const { React, ReactDOM, GraphiQL } = window
  const at = (id) => document.getElementById(id)
  const root = ReactDOM.createRoot(at('explorer'))
  /** Where the page runs in a demo: its principals, each with a token. */
  let principals = []

  const EXAMPLE = `# Ctrl-Enter runs a query. The answer's extensions say
# who served it, what was masked or withheld under which
# agreement, and where its receipt is.
query Agents {
  agents(
    first: 5
    where: { status: { eq: ACTIVE } }
    orderBy: [{ name: ASC }]
  ) {
    totalCount
    nodes {
      id
      organization
      name
      status
      monthlyBudget
      owner { name }
    }
    pageInfo { hasNextPage endCursor }
  }
}
`

  function chosen() {
    return principals.find((principal) => principal.name === at('principal').value) ?? null
  }

  function token() {
    return chosen()?.token ?? at('token').value.trim()
  }

  function purpose() {
    return chosen() === null ? at('purpose-text').value.trim() : at('purpose').value
  }

  async function fetcher(params) {
    const explain = at('explain').checked && params.operationName !== 'IntrospectionQuery'
    const headers = { accept: 'application/graphql-response+json, application/json;q=0.9', 'content-type': 'application/json' }
    if (token() !== '') headers.authorization = `Bearer ${token()}`
    if (purpose() !== '') headers['x-purpose'] = purpose()
    const response = await fetch(explain ? '/explain' : '/graphql', { method: 'POST', headers, body: JSON.stringify(params), credentials: 'omit' })
    at('note').textContent = response.status === 401 ? 'A valid token is needed.' : ''
    return response.json()
  }

  /** GraphiQL asks for the schema when it is made: a new one for each caller. */
  function render() {
    const key = `${at('principal').value} ${at('token').value.length}`
    root.render(
      React.createElement(GraphiQL, {
        key,
        fetcher,
        defaultQuery: EXAMPLE,
        shouldPersistHeaders: false,
        isHeadersEditorEnabled: false,
        showPersistHeadersSettings: false,
      }),
    )
  }

  function showPurposes() {
    const principal = chosen()
    at('purpose').hidden = principal === null
    at('purpose-text').hidden = principal !== null
    at('purpose').replaceChildren(...(principal?.purposes ?? []).map((each) => new Option(each, each)))
  }

  function showPrincipals() {
    const demo = principals.length > 0
    at('principal-label').hidden = !demo
    at('token-label').hidden = demo
    at('principal').replaceChildren(...principals.map((each) => new Option(`${each.name}, ${each.organization} (${each.roles.join(', ')})`, each.name)))
    const before = sessionStorage.getItem('concordat:principal')
    if (principals.some((each) => each.name === before)) at('principal').value = before
  }

  async function start() {
    const response = await fetch('/demo/principals', { credentials: 'omit' })
    principals = response.ok ? await response.json() : []
    showPrincipals()
    showPurposes()
    render()
  }

  at('who').addEventListener('submit', (event) => event.preventDefault())
  at('principal').addEventListener('change', () => {
    sessionStorage.setItem('concordat:principal', at('principal').value)
    showPurposes()
    render()
  })
  at('token').addEventListener('change', render)
  start().catch(() => {
    at('explorer').textContent = 'The server does not answer.'
  })
})()
