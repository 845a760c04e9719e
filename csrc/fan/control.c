/* The text of control events; see control.h. */
#include "fan/control.h"

int control_id_line(struct buf *b, const char *epoch, uint64_t seq) {
    return buf_addf(b, "id: %s-%llu\n", epoch, (unsigned long long)seq);
}

int control_id_json(struct buf *b, const char *epoch, uint64_t seq) {
    if (seq == 0) return buf_adds(b, "null");
    return buf_addf(b, "\"%s-%llu\"", epoch, (unsigned long long)seq);
}

int control_came_from(struct buf *b, const struct eventid *id) {
    if (id->kind != EVENTID_GOOD) return buf_adds(b, "null");
    return buf_addf(b, "\"%s-%llu\"", id->epoch, (unsigned long long)id->seq);
}

int control_hello(struct buf *b, const char *epoch, const struct control_hello *h) {
    int err = buf_addf(b,
                       "event: hello\ndata: {\"client\":\"%.*s\",\"epoch\":\"%s\","
                       "\"resumed\":%s,\"replay\":%llu,\"state\":{%.*s},\"channels\":%u,"
                       "\"heartbeat\":",
                       (int)h->client.n, h->client.p, epoch,
                       h->resumed ? "true" : "false", (unsigned long long)h->replay,
                       (int)h->states.n, h->states.n ? h->states.p : "", h->channels);
    if (err == 0) err = buf_add_number(b, h->heartbeat);
    if (err == 0 && h->max_rate > 0) err = buf_adds(b, ",\"max_rate\":");
    if (err == 0 && h->max_rate > 0) err = buf_add_number(b, h->max_rate);
    if (err == 0 && h->share.n > 0)
        err = buf_addf(b, ",\"share\":\"%.*s\"", (int)h->share.n, h->share.p);
    if (err == 0) err = buf_adds(b, "}\n");
    if (err == 0 && h->has_id) err = control_id_line(b, epoch, h->id);
    return err < 0 ? err : buf_adds(b, "\n");
}

int control_reset(struct buf *b, const char *epoch, const struct control_reset *r) {
    int err = buf_addf(b,
                       "event: reset\ndata: {\"channel\":\"%.*s\",\"reason\":\"%s\","
                       "\"from\":%.*s,\"oldest\":",
                       (int)r->channel.n, r->channel.p, reason_reset(r->reason)->word,
                       (int)r->from.n, r->from.p);
    if (err == 0) err = control_id_json(b, epoch, r->oldest);
    if (err == 0) err = buf_adds(b, "}\n");
    if (err == 0 && r->has_id) err = control_id_line(b, epoch, r->id);
    return err < 0 ? err : buf_adds(b, "\n");
}

int control_sync(struct buf *b, const char *epoch, uint64_t seq) {
    int err = buf_adds(b, "event: sync\ndata: {}\n");
    if (err == 0) err = control_id_line(b, epoch, seq);
    return err < 0 ? err : buf_adds(b, "\n");
}

int control_bye(struct buf *b, const char *epoch, const struct control_bye *bye) {
    const struct end_row *row = reason_end(bye->reason);
    int err = buf_addf(b,
                       "event: bye\nretry: %u\n"
                       "data: {\"reason\":\"%s\",\"retry\":%u",
                       bye->retry_ms, row->word, bye->retry_ms);
    if (err == 0 && bye->status) err = buf_addf(b, ",\"status\":%d", bye->status);
    if (err == 0) err = buf_adds(b, "}\n");
    if (err == 0 && row->stays_away) err = buf_adds(b, "id: stop\n");
    else if (err == 0 && bye->has_id) err = control_id_line(b, epoch, bye->id);
    return err < 0 ? err : buf_adds(b, "\n");
}
