/*
 * What a search met, over all of it: how often a crash was tried, and each step from one
 * journal to the next. The first is printed at the end; the second is written, one a line,
 * to the file that NOODLE_SPECS_EDGES names, for the relation that real journals are held
 * against.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIELDS 16 /* the journal's eight before a commit, and after it */
typedef struct { int used, fields[FIELDS]; } Edge;

long kills_tried, cuts_tried;

static Edge *edges;
static size_t edges_known, edges_room;

static void report(void)
{
	printf("crashes tried: %ld kills, %ld power cuts\n", kills_tried, cuts_tried);
	const char *name = getenv("NOODLE_SPECS_EDGES");
	FILE *out = name ? fopen(name, "w") : NULL;
	if (!out) return;
	for (size_t at = 0; at < edges_room; at++)
		for (int place = 0; edges[at].used && place < FIELDS; place++)
			fprintf(out, "%d%c", edges[at].fields[place], place + 1 < FIELDS ? ' ' : '\n');
	if (fclose(out)) abort();
}

static void at_the_end(void)
{
	static int registered;
	if (!registered) { registered = 1; atexit(report); }
}

void tried(long *counter)
{
	at_the_end();
	++*counter;
}

static Edge *place_of(const int *fields)
{
	size_t hash = 14695981039346656037u;
	for (int place = 0; place < FIELDS; place++)
		hash = (hash ^ (unsigned)fields[place]) * 1099511628211u;
	for (size_t at = hash % edges_room;; at = (at + 1) % edges_room)
		if (!edges[at].used || !memcmp(edges[at].fields, fields, sizeof edges[at].fields))
			return &edges[at];
}

static void remember(const int *fields)
{
	Edge *place = place_of(fields);
	if (place->used) return;
	place->used = 1;
	memcpy(place->fields, fields, sizeof place->fields);
	edges_known++;
}

void journal_moved(const int *fields)
{
	static int wanted = -1;
	at_the_end();
	if (wanted < 0) wanted = getenv("NOODLE_SPECS_EDGES") != NULL;
	if (!wanted) return;
	if (2 * (edges_known + 1) > edges_room) {
		Edge *old = edges;
		size_t room = edges_room;
		edges_room = room ? 2 * room : 1 << 12;
		edges = calloc(edges_room, sizeof *edges);
		if (!edges) abort();
		edges_known = 0;
		for (size_t at = 0; at < room; at++)
			if (old[at].used) remember(old[at].fields);
		free(old);
	}
	remember(fields);
}
