// Load and thresholds of the load test, in one place.

/** 100 virtual users for 10 s; only 202 and 400 are right answers, and nothing is a 5xx. */
export const options = {
  scenarios: {
    buyers: { executor: 'constant-vus', vus: 100, duration: '10s', gracefulStop: '5s' },
  },
  thresholds: {
    checks: ['rate==1'],
    http_req_failed: ['rate==0'],
    answers_5xx: ['count==0'],
    answers_other: ['count==0'],
  },
  summaryTrendStats: ['min', 'med', 'avg', 'p(90)', 'p(95)', 'p(99)', 'max'],
};
