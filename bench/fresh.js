/** The word in a request in whose place the load generator writes another number each time, so that no two documents are the same: letters stand before it. */
export const FRESH = '@@@@@@@@'
